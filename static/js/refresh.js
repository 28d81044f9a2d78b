// Re-fetches the partial that the page includes, and shows times in the viewer's zone. A page out of sight asks nothing.
const EVERY_MS = 2000;
const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const place = document.querySelector("[data-refresh]");
const note = document.querySelector("[data-refresh-note]");
let last = "";

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(place.dataset.refresh, { headers: { Accept: "text/html" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") return location.reload();
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.text());
    note.textContent = "This page updates by itself.";
  } catch {
    note.textContent = "The site cannot be reached; trying again.";
  }
}

function show(text) {
  if (text === last) return;
  last = text;
  const focused = document.activeElement?.getAttribute("href");
  place.innerHTML = text;
  localTimes(place);
  if (focused) place.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

localTimes(place);
note.textContent = "This page updates by itself.";
setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
