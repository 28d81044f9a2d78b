// Pages of runs: times that go on counting, and a step chosen in place instead of by loading the page again.
import { get, put } from "./live.js";
import { counted } from "./shell.js";

// --- times that go on
function count() {
  const now = Date.now();
  for (const place of document.querySelectorAll("[data-since], [data-until]")) {
    const { since, until } = place.dataset;
    const seconds = since ? (now - new Date(since)) / 1000 : (new Date(until) - now) / 1000;
    const words = counted(seconds);
    if (place.textContent !== words) place.textContent = words;
  }
}
count();
setInterval(count, 1000);

// --- a step chosen: its panel comes, the address says so, the page stays where it is
const view = document.getElementById("run-view");
const live = document.getElementById("live");
const PHONE = matchMedia("(max-width: 1000px)");

// Of a link or the panel: a step, or its item.
const PLACE = ["step", "index"];
const placeOf = (element) => PLACE.map((word) => element.dataset[word]).join();
function go(address, element) {
  for (const word of PLACE) {
    const value = element.dataset[word];
    value ? address.searchParams.set(word, value) : address.searchParams.delete(word);
  }
}

function mark(chosen) {
  for (const link of view.querySelectorAll("a[data-step]")) {
    const is = placeOf(link) === placeOf(chosen);
    is ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    link.closest("tr")?.classList.toggle("is-selected", is);
  }
}

async function choose(link) {
  const address = new URL(live.dataset.part, location.href);
  go(address, link);
  address.searchParams.delete("round");
  address.searchParams.delete("follow");
  const asked = new URL(address);
  asked.searchParams.set("chosen", "1");
  const answer = await get(asked);
  if (!answer) return;
  await put(await answer.text());
  live.dataset.part = address.pathname + address.search;
  history.pushState({}, "", link.href);
  mark(link);
  count();
  hear();
  if (PHONE.matches) document.getElementById("step-title").focus();
}

// The panel follows the run until the reader takes it up.
function stay() {
  const address = new URL(live.dataset.part, location.href);
  const shown = document.getElementById("step-panel");
  if (!address.searchParams.has("follow") || !shown) return;
  address.searchParams.delete("follow");
  go(address, shown);
  live.dataset.part = address.pathname + address.search;
}
for (const kind of ["pointerdown", "wheel", "focusin", "touchstart"]) {
  view?.querySelector(".run-panel").addEventListener(kind, stay, { passive: true });
}

view?.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-step]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  choose(link).catch(() => location.assign(link.href));
});
// --- an answer that is being written: its stream says that there is more of it, and the panel is drawn anew
const REDRAWN_MS = 400;
let written, redraw = 0;
async function drawPanel() {
  const asked = new URL(live.dataset.part, location.href);
  asked.searchParams.set("chosen", "1");
  const answer = await get(asked);
  if (answer) await put(await answer.text());
  redraw = 0;
  count();
  hear();
}
function hear() {
  const place = document.getElementById("answer-so-far");
  if (written && !place) written = void written.close();
  if (written || !place) return;
  written = new EventSource(`${place.dataset.stream}?after=${place.dataset.after}`);
  written.addEventListener("value", (event) => {
    const { step, round, index } = JSON.parse(event.data), shown = document.getElementById("answer-so-far")?.dataset;
    if (step !== shown?.step || String(round) !== shown.round || String(index ?? "") !== shown.index) return;
    redraw ||= setTimeout(() => drawPanel().catch(() => (redraw = 0)), REDRAWN_MS);
  });
}
if (view) {
  hear();
  live?.addEventListener("live:part", hear);
}

if (view) addEventListener("popstate", () => location.reload());
live?.addEventListener("live:part", count);
