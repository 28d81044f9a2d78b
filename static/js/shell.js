// What every page has: dialogs, palette, keys, toasts, copying, times that stay relative, and the reader's time zone.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const TYPING = "input, textarea, select, [contenteditable]";
const TIMES_MS = 10_000;
const DRAFT_DAYS = 7;

// --- times, said as ui/templatetags/ui.py says them
export function relative(seconds) {
  const size = Math.abs(seconds);
  if (size < 5) return "just now";
  const [length, unit] = UNITS.find(([length]) => size >= length);
  const words = `${Math.floor(size / length)} ${unit}`;
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
  document.getElementById("toasts").append(box);
  if (tone !== "bad") setTimeout(() => box.remove(), 8000);
}

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
function openPalette() {
  palette.showModal();
  palette.querySelector("input").select();
}
palette?.addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const item of palette.querySelectorAll("li")) item.hidden = !item.textContent.toLowerCase().includes(wanted);
});
palette?.addEventListener("keydown", (event) => {
  const links = [...palette.querySelectorAll("li:not([hidden]) a")];
  const at = links.indexOf(document.activeElement);
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const next = at + (event.key === "ArrowDown" ? 1 : -1);
    (links[next] ?? palette.querySelector("input")).focus();
  } else if (event.key === "Enter" && event.target.matches("input") && event.target.value.trim() && links.length) {
    event.preventDefault();
    location.assign(links[0].href);
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
