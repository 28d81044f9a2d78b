// A run's log: new lines at its end while one looks, older ones above, and nothing that moves under the reader.
import { get, live } from "./live.js";

const MOST_LINES = 20_000, BLOCK_LINES = 100, OLDER_LINES = 500;
const box = document.getElementById("log");
const empty = box.querySelector(".log-empty"); // after the last block
const place = document.getElementById("live");
const button = document.getElementById("log-follow");
const wrap = document.getElementById("log-wrap");
const older = document.getElementById("log-older");
let line = Number(box.dataset.newest); // up to which lines were asked for
let isWhole = !("newer" in box.dataset); // the last line here is the log's last
let follows = isWhole && !("at" in box.dataset) && !location.hash;
let missed = 0;

const lines = () => box.getElementsByTagName("li");
const isAtEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 8;

function toEnd() {
  box.scrollTop = box.scrollHeight;
  requestAnimationFrame(() => { if (follows) box.scrollTop = box.scrollHeight; }); // what came into sight has its true height now
}

function tellMissed() {
  button.hidden = follows || !missed;
  button.lastElementChild.textContent = `${missed.toLocaleString()} new line${missed === 1 ? "" : "s"}`;
}

// --- new lines
function append(items) {
  let block = empty.previousElementSibling;
  for (const item of items) {
    if (!block || block.childElementCount >= BLOCK_LINES) {
      block = document.createElement("ol");
      block.className = "log-block";
      empty.before(block);
    }
    block.append(item);
  }
}

function parsed(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  const items = [...template.content.querySelectorAll("li[id]")];
  for (const block of template.content.querySelectorAll(".log-block")) block.remove();
  return [items, template.innerHTML];
}

live.read = async () => {
  const address = new URL(place.dataset.part, location.href);
  address.searchParams.set("after", line);
  const answer = await get(address);
  if (!answer) return null;
  const [items, rest] = parsed(await answer.text());
  if (!follows && lines().length + items.length > MOST_LINES) isWhole = false;
  if (isWhole) append(items);
  line = Number(answer.headers.get("X-Line"));
  await htmx.swap({ text: rest, sourceElement: document.body, target: document.body, swap: "none" });
  if (follows) {
    while (lines().length > MOST_LINES) box.firstElementChild.remove();
    toEnd();
  } else missed += items.length;
  tellMissed();
  return Number(answer.headers.get("X-Seq"));
};

box.addEventListener("scroll", () => {
  const was = follows;
  follows = isWhole && isAtEnd();
  if (follows) missed = 0;
  if (was !== follows || !missed) tellMissed();
}, { passive: true });

button.addEventListener("click", () => {
  if (!isWhole) return location.assign(newest());
  follows = true;
  missed = 0;
  tellMissed();
  toEnd();
  box.focus({ preventScroll: true });
});

function newest() {
  const address = new URL(location.href);
  for (const name of ["at", "before", "after", "q"]) address.searchParams.delete(name);
  address.hash = "";
  return address;
}

// --- older lines, put above without moving what is read
older?.addEventListener("click", async (event) => {
  event.preventDefault();
  const first = lines()[0];
  if (!first || older.ariaDisabled === "true") return;
  older.ariaDisabled = "true";
  const address = new URL(place.dataset.part, location.href);
  address.searchParams.set("before", first.id.slice(1));
  try {
    const answer = await get(address);
    if (!answer) return;
    const template = document.createElement("template");
    template.innerHTML = await answer.text();
    const top = first.getBoundingClientRect().top;
    older.hidden = template.content.querySelectorAll("li[id]").length < OLDER_LINES;
    box.prepend(...template.content.querySelectorAll(".log-block"));
    box.scrollTop += first.getBoundingClientRect().top - top;
    while (lines().length > MOST_LINES + OLDER_LINES) {
      empty.previousElementSibling.remove();
      isWhole = false;
    }
  } catch {
    location.assign(older.href);
  }
  older.ariaDisabled = null;
});

// --- one line: its address, and the rest of it
function goToHash() {
  const wanted = /^#L(\d+)$/.exec(location.hash);
  if (!wanted) {
    const here = document.getElementById(`L${box.dataset.at}`);
    here?.classList.add("is-here");
    return here?.scrollIntoView({ block: "center" });
  }
  const item = document.getElementById(location.hash.slice(1));
  if (item) return item.scrollIntoView({ block: "center" });
  const address = new URL(location.pathname, location.href);
  if (new URL(location.href).searchParams.get("at") === wanted[1]) return; // there is no such line
  address.searchParams.set("at", wanted[1]);
  address.hash = location.hash;
  location.replace(address);
}

box.addEventListener("click", async (event) => {
  const link = event.target.closest("a.n, a.more");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.matches(".n")) {
    const { scrollTop } = box;
    location.hash = `L${link.textContent}`;
    box.scrollTop = scrollTop;
    return;
  }
  const answer = await get(link.href + (place.dataset.part.match(/[?&](q=[^&]*)/)?.[1].replace(/^/, "?") ?? ""));
  if (answer) link.closest(".text").innerHTML = await answer.text();
});

// --- wrapping
function setWrap(wraps) {
  wrap.setAttribute("aria-pressed", wraps);
  box.classList.toggle("is-plain", !wraps);
}
wrap.hidden = false;
wrap.addEventListener("click", () => {
  const wraps = wrap.getAttribute("aria-pressed") !== "true";
  localStorage.setItem("log-wrap", wraps);
  setWrap(wraps);
  if (follows) toEnd();
});
setWrap(localStorage.getItem("log-wrap") !== "false");

document.querySelector(".log-bar").addEventListener("click", (event) => {
  const item = event.target.matches("#log-first-error") && document.getElementById(new URL(event.target.href).hash.slice(1));
  if (!item) return; // not here: the address brings it
  event.preventDefault();
  location.hash = item.id;
  item.scrollIntoView({ block: "center" });
});
addEventListener("hashchange", () => { if (!document.getElementById(location.hash.slice(1))) goToHash(); });
if (follows) toEnd();
else goToHash();
