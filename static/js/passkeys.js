// What went wrong with a passkey, in words; allauth's own scripts tell it to the console only.
import {toast} from "./shell.js";

const WORDS = {
  NotAllowedError: "No passkey was used: it was not confirmed, or none here fits.",
  InvalidStateError: "This device has a passkey of yours already.",
  SecurityError: "Passkeys need https, or localhost, and the address that this site is known by.",
  NotSupportedError: "This browser knows no passkeys of the kind that is needed.",
};

document.addEventListener("allauth.error", (event) => {
  const {exception} = event.detail;
  toast(WORDS[exception.name] ?? "Your browser knows no passkeys, or could not use one.", "bad");
  event.preventDefault();
});
