// The editor of definitions and agents: CodeMirror over the text area, findings from the server while one types, and a
// draft kept in this browser until it is saved. Without it the text area and the form do the same.
import { relative, toast } from "./shell.js";

const DRAFT_MS = 500;
const CHECK_MS = 300;
const SENT = "editor-sent";

const box = document.querySelector("[data-editor]");
if (box) open(box);
else forgetSent();

// --- the draft, by its writer and the page's address: {text, base, at}
function forgetSent() {
  const key = sessionStorage.getItem(SENT);
  if (key) localStorage.removeItem(key);
  sessionStorage.removeItem(SENT);
}

function drafts(box, text, put) {
  const key = `draft:${box.dataset.draft}`;
  const banner = box.querySelector(".editor-draft");
  const began = text();
  const kept = JSON.parse(localStorage.getItem(key));
  const isBack = "isBack" in box.dataset; // from the server, not saved: what is in the editor is the draft
  sessionStorage.removeItem(SENT);
  if (!isBack && kept && typeof kept.text === "string" && kept.text !== began) {
    const time = banner.querySelector("[data-draft-at]");
    time.dateTime = new Date(kept.at).toISOString();
    time.textContent = relative((kept.at - Date.now()) / 1000);
    time.dataset.relative = "";
    banner.querySelector("[data-draft-base]").hidden = String(kept.base) === box.dataset.base;
    banner.hidden = false;
    banner.querySelector("[data-draft-restore]").addEventListener("click", () => {
      put(kept.text);
      box.querySelector("[name=base]").value = kept.base; // saving asks if a newer version is there
      banner.hidden = true;
    });
    banner.querySelector("[data-draft-drop]").addEventListener("click", () => {
      localStorage.removeItem(key);
      banner.hidden = true;
    });
  } else if (kept && !isBack) localStorage.removeItem(key);
  let timer = 0;
  const keep = () => {
    clearTimeout(timer);
    timer = 0;
    banner.hidden = true;
    try {
      localStorage.setItem(key, JSON.stringify({ text: text(), base: box.querySelector("[name=base]").value, at: Date.now() }));
    } catch {
      // full, or not allowed: then there is no draft
    }
  };
  if (isBack) keep();
  addEventListener("pagehide", () => timer && keep());
  document.addEventListener("submit", () => timer && keep()); // before the answer to signing out clears it all
  box.closest("form").addEventListener("submit", () => sessionStorage.setItem(SENT, key));
  return () => {
    clearTimeout(timer);
    timer = setTimeout(keep, DRAFT_MS);
  };
}

// --- what the server finds
function checker(box) {
  const list = box.querySelector("[data-findings]");
  const count = box.querySelector("[data-findings-count]");
  const told = box.querySelector("[data-findings-told]");
  const token = box.closest("form").querySelector("[name=csrfmiddlewaretoken]").value;
  return async (text) => {
    let answer;
    try {
      answer = await fetch(box.dataset.check, {
        method: "POST",
        headers: { "X-CSRFToken": token, Accept: "application/json" },
        body: new URLSearchParams({ text }),
        redirect: "error",
      });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      answer = await answer.json();
    } catch {
      told.textContent = "Not checked: the server did not answer.";
      return null;
    }
    list.innerHTML = answer.html;
    showGraph(document.querySelector("[data-graph]"), answer);
    count.textContent = answer.findings.length;
    count.hidden = !answer.findings.length;
    const words = answer.findings.length === 1 ? "1 finding" : `${answer.findings.length} findings`;
    if (told.textContent !== words) told.textContent = words;
    return answer.findings;
  };
}

// The graph as the server laid it out, in the width there is; with errors in the text the last one stays, and says so.
function showGraph(card, { graph, findings }) {
  if (!card) return;
  const isOld = findings.some(({ severity }) => severity === "error");
  card.querySelector("[data-graph-old]").hidden = !isOld;
  if (isOld) return;
  card.hidden = !graph;
  card.querySelector("[data-graph-drawn]").innerHTML = graph;
  if (graph) placeGraph(card);
}

function placeGraph(card) {
  card.querySelector(".dag-tools").remove();
  const graph = card.querySelector(".dag");
  graph.style.setProperty("--w", graph.dataset.w);
  graph.style.setProperty("--h", graph.dataset.h);
  for (const node of card.querySelectorAll(".node")) {
    node.style.setProperty("--x", node.dataset.x);
    node.style.setProperty("--y", node.dataset.y);
  }
  graph.querySelector(".dag-inner").style.setProperty("--zoom", Math.min(1, Math.max(0.4, (graph.clientWidth - 4) / graph.dataset.w)));
}

// --- CodeMirror, with our own colours
function look({ EditorView, HighlightStyle, syntaxHighlighting, tags }) {
  const style = HighlightStyle.define([
    { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--accent)" },
    { tag: [tags.string, tags.content, tags.special(tags.string)], color: "var(--ink)" },
    { tag: [tags.number, tags.bool, tags.null, tags.keyword, tags.atom], color: "var(--busy)" },
    { tag: [tags.comment, tags.lineComment, tags.meta], color: "var(--dim)", fontStyle: "italic" },
    { tag: [tags.punctuation, tags.separator, tags.bracket, tags.squareBracket, tags.brace], color: "var(--dim)" },
    { tag: tags.invalid, color: "var(--bad)" },
  ]);
  const theme = EditorView.theme({
    "&": { color: "var(--ink)", backgroundColor: "var(--card)", fontSize: "12px", maxHeight: "75vh" },
    "&.cm-focused": { outline: "none" },
    ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px", minHeight: "380px", overflow: "auto" },
    ".cm-content": { caretColor: "var(--ink)" },
    ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--ink)" },
    ".cm-gutters": { backgroundColor: "var(--card)", color: "var(--dim)", borderRight: "1px solid var(--line)" },
    ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--raise)" },
    ".cm-activeLineGutter": { color: "var(--ink)" },
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
      backgroundColor: "var(--busy-bg)",
    },
    ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--busy-bg)", outline: "1px solid var(--edge)" },
    ".cm-tooltip, .cm-panels": { backgroundColor: "var(--card)", color: "var(--ink)", border: "1px solid var(--line)" },
    ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
    ".cm-diagnostic-error": { borderLeftColor: "var(--bad)" },
    ".cm-diagnostic-warning": { borderLeftColor: "var(--wait)" },
    ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad)" },
    ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--wait)" },
    ".cm-textfield": { backgroundColor: "var(--card)", color: "var(--ink)", border: "1px solid var(--edge)" },
    ".cm-button": { backgroundImage: "none", backgroundColor: "var(--card)", color: "var(--ink)", border: "1px solid var(--edge)" },
    ".cm-searchMatch": { backgroundColor: "var(--wait-bg)", outline: "1px solid var(--wait)" },
  });
  return [theme, syntaxHighlighting(style)];
}

function completion(words, { autocompletion }) {
  const known = words.split(" ").filter(Boolean);
  return autocompletion({
    override: [
      (context) => {
        const word = context.matchBefore(/[\w-]+/);
        if (!word && !context.explicit) return null;
        const here = new Set(context.state.doc.toString().match(/[a-z][\w-]{2,}/g) ?? []);
        if (word) here.delete(word.text);
        const options = [...new Set([...known, ...here])].map((label) => ({ label, boost: known.includes(label) ? 1 : 0 }));
        return { from: word ? word.from : context.pos, options, validFor: /^[\w-]*$/ };
      },
    ],
  });
}

function place(doc, line, column) {
  const found = doc.line(Math.min(Math.max(line, 1), doc.lines));
  return Math.min(found.from + Math.max(column, 1) - 1, found.to);
}

function marks(doc, findings) {
  return findings.map(({ line, column, severity, rule, message }) => {
    const from = place(doc, line, column);
    const rest = doc.sliceString(from, doc.lineAt(from).to).match(/^[\w-]+|^\S+/);
    return { from, to: from + (rest ? rest[0].length : 0), severity, message, source: rule };
  });
}

async function draw(box, area, changed, find) {
  const cm = await import(box.dataset.codemirror);
  const label = box.querySelector("label[for=editor-text]");
  label.id ||= "editor-label";
  const told = { "aria-labelledby": label.id, "aria-describedby": "editor-help", spellcheck: "false", tabindex: "0" };
  const host = document.createElement("div");
  host.className = "editor-drawn";
  const view = new cm.EditorView({
    doc: area.value,
    parent: host,
    extensions: [
      cm.EditorView.cspNonce.of(box.dataset.nonce),
      cm.EditorView.contentAttributes.of(told),
      cm.lineNumbers(), cm.highlightActiveLineGutter(), cm.highlightActiveLine(), cm.highlightSpecialChars(), cm.drawSelection(),
      cm.history(), cm.indentOnInput(), cm.indentUnit.of("  "), cm.bracketMatching(), cm.closeBrackets(), cm.yaml(),
      cm.search({ top: true }), cm.highlightSelectionMatches(), completion(box.dataset.words, cm), look(cm), cm.lintGutter(),
      cm.linter(async (at) => marks(at.state.doc, (await find(at.state.doc.toString())) ?? []), { delay: CHECK_MS }),
      // no Tab: it moves on, as on every page
      cm.keymap.of([...cm.closeBracketsKeymap, ...cm.defaultKeymap, ...cm.searchKeymap, ...cm.historyKeymap, ...cm.completionKeymap, ...cm.lintKeymap]),
      cm.EditorView.updateListener.of((update) => {
        if (!update.docChanged) return;
        area.value = update.state.doc.toString();
        changed();
      }),
    ],
  });
  area.hidden = true;
  area.after(host);
  label.addEventListener("click", () => view.focus());
  box.querySelector("[data-source]")?.setAttribute("hidden", "");
  return {
    put: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    go: (line, column) => {
      const at = place(view.state.doc, line, column);
      view.dispatch({ selection: { anchor: at }, effects: cm.EditorView.scrollIntoView(at, { y: "center" }) });
      view.focus();
    },
  };
}

async function open(box) {
  const card = document.querySelector("[data-graph]");
  if (card && !card.hidden) placeGraph(card);
  const area = box.querySelector("textarea");
  let drawn = null;
  const put = (text) => {
    area.value = text;
    drawn?.put(text);
  };
  const changed = drafts(box, () => area.value, put);
  area.addEventListener("input", changed);
  const find = checker(box);
  try {
    drawn = await draw(box, area, changed, find);
  } catch (error) {
    console.error(error); // the text area stays
    return;
  }
  document.querySelector("main").addEventListener("click", (event) => {
    const link = event.target.closest("a[data-line]");
    if (!link) return;
    event.preventDefault();
    drawn.go(Number(link.dataset.line), Number(link.dataset.column));
  });
  box.closest("form").querySelector("button[value=check]")?.addEventListener("click", async (event) => {
    event.preventDefault();
    const found = await find(area.value);
    if (!found) return toast("Not checked: the server did not answer.", "bad");
    const errors = found.filter(({ severity }) => severity === "error").length;
    toast(errors ? `${errors} ${errors === 1 ? "thing" : "things"} to change before it can be saved.` : "Checked: it can be saved.", errors ? "bad" : "good");
  });
}
