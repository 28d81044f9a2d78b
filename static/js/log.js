// A run's log: new lines at its end while one looks, older ones above, and nothing that moves under the reader.
import { get, live, put } from "./live.js";

const MOST_LINES = 20_000, BLOCK_LINES = 100, OLDER_LINES = 500;
const box = document.getElementById("log");
const empty = box.querySelector(".log-empty"); // after the last block
const place = document.getElementById("live");
const button = document.getElementById("log-follow");
const wrap = document.getElementById("log-wrap");
const older = document.getElementById("log-older");
let line = Number(box.dataset.newest); // up to which lines were asked for
let count = box.querySelectorAll("li").length;
let isWhole = !("newer" in box.dataset); // the last line here is the log's last
let isHeld = "at" in box.dataset || location.hash !== ""; // at one line, until the reader moves
let follows = isWhole && !isHeld;
let missed = 0, top = 0;

const isAtEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 8;

function toEnd() {
  box.scrollTop = box.scrollHeight;
  requestAnimationFrame(() => { if (follows) box.scrollTop = box.scrollHeight; }); // what came into sight has its true height now
}

function tell() {
  button.hidden = follows || (isWhole && !missed);
  button.lastElementChild.textContent = missed ? `${missed.toLocaleString()} new line${missed === 1 ? "" : "s"}` : "Newest lines";
}

function asked(name, value) {
  const address = new URL(place.dataset.part, location.href);
  address.searchParams.set(name, value);
  return address;
}

function parsed(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  return template;
}

function remove(block) {
  count -= block.childElementCount;
  block.remove();
}

// --- new lines
function append(items) {
  count += items.length;
  while (items.length) {
    let block = empty.previousElementSibling;
    if (!block || block.childElementCount >= BLOCK_LINES) {
      block = document.createElement("ol");
      block.className = "log-block";
      empty.before(block);
    }
    block.append(...items.splice(0, BLOCK_LINES - block.childElementCount));
  }
}

live.read = async () => {
  const answer = await get(asked("after", line));
  if (!answer) return null;
  const template = parsed(await answer.text());
  const items = [...template.content.querySelectorAll("li[id]")];
  for (const block of template.content.querySelectorAll(".log-block")) block.remove();
  line = Number(answer.headers.get("X-Line"));
  await put(template.innerHTML);
  if (!follows) {
    missed += items.length;
    if (count + items.length > MOST_LINES) isWhole = false;
  }
  if (isWhole) append(items);
  if (follows) {
    while (count > MOST_LINES) {
      remove(box.firstElementChild);
      tellOlder(true);
    }
    toEnd();
  }
  tell();
  return Number(answer.headers.get("X-Seq"));
};

box.addEventListener("scroll", () => {
  const was = follows;
  if (isWhole && !isHeld && isAtEnd()) follows = true;
  else if (box.scrollTop < top) follows = false; // a reader's doing: what grows moves the other way
  top = box.scrollTop;
  if (follows) missed = 0;
  if (was !== follows) tell();
}, { passive: true });
for (const kind of ["wheel", "touchmove", "pointerdown", "keydown"]) box.addEventListener(kind, () => { isHeld = false; }, { passive: true });

button.addEventListener("click", () => {
  if (!isWhole) return location.assign(newest());
  follows = true;
  isHeld = false;
  missed = 0;
  tell();
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
function tellOlder(isThere) {
  older.hidden = !isThere;
  older.search = asked("before", box.querySelector("li").id.slice(1)).search;
}

older.addEventListener("click", async (event) => {
  event.preventDefault();
  if (older.ariaDisabled === "true") return;
  older.ariaDisabled = "true";
  const first = box.querySelector("li");
  try {
    const answer = await get(asked("before", first.id.slice(1)));
    if (!answer) return;
    const { content } = parsed(await answer.text());
    const found = content.querySelectorAll("li").length;
    const was = first.getBoundingClientRect().top;
    box.prepend(...content.querySelectorAll(".log-block"));
    box.scrollTop += first.getBoundingClientRect().top - was;
    count += found;
    tellOlder(found === OLDER_LINES && box.querySelector("li").id !== "L1");
    while (count > MOST_LINES) {
      remove(empty.previousElementSibling);
      isWhole = follows = false;
    }
    tell();
  } catch {
    location.assign(older.search);
  }
  older.ariaDisabled = null;
});

// --- one line: its address, and the rest of it
function goTo(item) {
  isHeld = true;
  follows = false;
  item?.scrollIntoView({ block: "center" });
}

function goToHash() {
  const wanted = /^#L(\d+)$/.exec(location.hash);
  if (!wanted) {
    const here = document.getElementById(`L${box.dataset.at}`);
    here?.classList.add("is-here");
    return goTo(here);
  }
  const item = document.getElementById(location.hash.slice(1));
  if (item) return goTo(item);
  if (new URL(location.href).searchParams.get("at") === wanted[1]) return; // there is no such line
  const address = new URL(location.pathname, location.href);
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
  goTo(item);
  tell();
});
addEventListener("hashchange", () => { if (!document.getElementById(location.hash.slice(1))) goToHash(); });
if (follows) toEnd();
else goToHash();
tell();
