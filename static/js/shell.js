// What every page has: dialogs, palette, keys, toasts, copying, times that stay relative, and the reader's time zone.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const TYPING = "input, textarea, select, [contenteditable]";
const TIMES_MS = 10_000;
const TOAST_MS = 8000;
const DRAFT_DAYS = 7;

// --- times, said as ui/templatetags/ui.py says them
export function counted(seconds) {
  if (seconds < 10) return `${Math.max(0, Math.floor(seconds))} s`;
  const parts = [];
  let left = Math.floor(seconds);
  for (const [length, unit] of UNITS) {
    if (left >= length && parts.length < 2) {
      parts.push(`${Math.floor(left / length)} ${unit}`);
      left %= length;
    } else if (parts.length) break;
  }
  return parts.join(" ");
}

export function relative(seconds) {
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  const words = counted(size < 60 ? size : size - (size % 60));
  return seconds < 0 ? `${words} ago` : `in ${words}`;
}

function tellTimes() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    const words = relative((new Date(time.dateTime) - Date.now()) / 1000);
    if (time.textContent !== words) time.textContent = words;
  }
}
setInterval(tellTimes, TIMES_MS);

// --- the zone of this device, unless one was chosen in Settings
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const cookies = new URLSearchParams(document.cookie.replaceAll("; ", "&"));
if (zone && cookies.get("zone_is_chosen") !== "1" && cookies.get("zone") !== zone) {
  document.cookie = `zone=${zone};path=/;max-age=31536000;samesite=lax${location.protocol === "https:" ? ";secure" : ""}`;
}

// --- what the editor kept of texts that were not saved: forgotten after a week. Signing out clears all of it.
function keptAt(key) {
  try {
    return JSON.parse(localStorage.getItem(key)).at;
  } catch {
    return 0;
  }
}
try {
  const oldest = Date.now() - DRAFT_DAYS * 86_400_000;
  const old = Object.keys(localStorage).filter((key) => key.startsWith("draft:") && !(keptAt(key) > oldest));
  for (const key of old) localStorage.removeItem(key);
} catch { /* nothing may be kept here */ }

// --- toasts
const toasts = document.getElementById("toasts");
export function toast(words, tone = "info") {
  const box = document.createElement("div");
  box.className = `toast tone-${tone}`;
  const text = document.createElement("p");
  text.textContent = words;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "bare";
  close.dataset.dismiss = "";
  close.setAttribute("aria-label", "Dismiss");
  close.innerHTML = '<span class="icon icon-x" aria-hidden="true"></span>';
  box.append(text, close);
  toasts.append(box);
  leave(box);
}

// What is wrong stays until it is read; all else goes by itself, but not while someone is at it.
function leave(box) {
  if (box.matches(".tone-bad")) return;
  setTimeout(() => (box.matches(":hover, :focus-within") ? leave(box) : box.remove()), TOAST_MS);
}
for (const box of toasts.children) leave(box);

// --- clicks
document.addEventListener("click", async (event) => {
  const target = event.target.closest("[data-copy], [data-dismiss], [data-palette], [command]");
  if (!target) return;
  if (target.dataset.copy !== undefined) {
    await navigator.clipboard.writeText(target.dataset.copy);
    toast("Copied.", "good");
  } else if (target.dataset.dismiss !== undefined) {
    target.closest(".toast").remove();
  } else if (target.dataset.palette !== undefined) {
    openPalette();
  } else if (!("command" in HTMLButtonElement.prototype)) {
    const dialog = document.getElementById(target.getAttribute("commandfor"));
    target.getAttribute("command") === "close" ? dialog.close() : dialog.showModal();
  }
});

// --- menus close by themselves
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// --- a form is sent once, however often its button is pressed; the back button gives it back
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "1";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// --- palette
const palette = document.getElementById("palette");
const list = document.getElementById("palette-list");
const typed = document.getElementById("palette-input");
const AN_ID = /^(run|req|dlv)_/;
let actions; // what the member may do: asked for once, when the palette is first opened

function openPalette() {
  offerPage();
  palette.showModal();
  typed.value = "";
  typed.focus();
  actions ??= addActions();
  filter();
}

async function addActions() {
  const answer = await fetch(palette.dataset.actions, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!answer?.ok) return void (actions = undefined);
  // Behind the pages: what is typed may be a page's name, and part of a definition's.
  [...list.querySelectorAll("[data-place]")].at(-1).insertAdjacentHTML("afterend", await answer.text());
  filter();
}

// What this page offers, first: its buttons, and the id to copy.
function offerPage() {
  for (const old of list.querySelectorAll("[data-here]")) old.remove();
  const offered = document.querySelectorAll("main .page-head .actions :is(a, button:enabled), main .page-head [data-copy]");
  const items = [...offered].map((target) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "bare";
    button.textContent = target.getAttribute("aria-label") ?? target.textContent.trim();
    if (target.firstElementChild?.matches(".icon")) button.prepend(target.firstElementChild.cloneNode());
    button.addEventListener("click", () => { palette.close(); target.click(); });
    const item = document.createElement("li");
    item.dataset.here = "";
    item.append(button);
    return item;
  });
  list.prepend(...items);
}

function filter() {
  const words = typed.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of list.querySelectorAll("li:not([data-stays])")) {
    const text = item.textContent.toLowerCase();
    item.hidden = !words.every((word) => text.includes(word));
  }
}
palette?.addEventListener("input", filter);
palette?.addEventListener("keydown", async (event) => {
  const links = [...list.querySelectorAll("li:not([hidden]) :is(a, button)")];
  const at = links.indexOf(document.activeElement);
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const next = at + (event.key === "ArrowDown" ? 1 : -1);
    (links[next] ?? typed).focus();
  } else if (event.key === "Enter" && event.target === typed && typed.value.trim() && !AN_ID.test(typed.value.trim())) {
    event.preventDefault();
    await actions;
    list.querySelector("li:not([hidden]) :is(a, button)").click();
  }
});

// --- keys; they rest while one types, and can be turned off in Settings
let leader = 0;
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && palette) {
    event.preventDefault();
    return openPalette();
  }
  if (document.body.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest(TYPING) || document.querySelector("dialog[open]")) return;
  if (event.key === "?") return document.getElementById("keys")?.showModal();
  if (event.key === "g") {
    leader = Date.now();
    return;
  }
  if (Date.now() - leader < 1500) {
    leader = 0;
    const wanted = `g ${event.key}`;
    const place = [...document.querySelectorAll("#palette a")].find((a) => a.querySelector("kbd")?.textContent === wanted);
    if (place) return location.assign(place.href);
  }
  if (event.key === "j" || event.key === "k") moveInList(event.key === "j" ? 1 : -1);
});

function moveInList(by) {
  const rows = [...document.querySelectorAll("main a.row")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, at + by))].focus();
}

// --- on a narrow screen the tab that is open may lie beyond the edge
for (const tab of document.querySelectorAll(".tabs [aria-current]")) tab.parentElement.scrollLeft = tab.offsetLeft - 80;
