// The form of a lever comes into a dialog; without this it is a page. Refusals come back into the same dialog.
import { get } from "./live.js";

const dialog = document.getElementById("lever");

function show(text) {
  dialog.innerHTML = text;
  const wrong = dialog.querySelector('[role="alert"], .has-error :is(input, select, textarea)');
  if (wrong) wrong.focus();
}

async function open(link) {
  const answer = await get(link.href);
  if (!answer) return;
  show(await answer.text());
  link.closest("details.menu")?.removeAttribute("open");
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-lever]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open(link).catch(() => location.assign(link.href));
});

dialog.addEventListener("submit", async (event) => {
  const form = event.target;
  event.preventDefault();
  if (form.dataset.sent) return;
  form.dataset.sent = "1";
  const body = new FormData(form, event.submitter);
  const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } }).catch(() => null);
  const target = answer?.headers.get("X-Goes-To");
  if (target) return void (new URL(target, location.href).pathname === location.pathname ? location.reload() : location.assign(target));
  if (answer && (answer.ok || answer.status === 400 || answer.status === 409)) return show(await answer.text());
  delete form.dataset.sent;
  if (answer?.status === 401 || answer?.status === 403) return form.submit(); // as a page it is told what to do
  dialog.querySelector(".actions").insertAdjacentHTML("beforebegin", '<p class="error" role="alert" tabindex="-1">No answer came. Close this, look whether it was done, and try again if not.</p>');
  dialog.querySelector('[role="alert"]').focus();
});
