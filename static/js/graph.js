// The graph of a run: zoom, arrow keys along its edges, the next failed step. Without this it scrolls, and its nodes are links.

const graph = document.getElementById("graph");
const inner = graph?.querySelector(".dag-inner");
const SMALLEST = 0.3, LARGEST = 2, STEP = 1.25;
const BAD = "failed uncertain";
let zoom = 1;

function setZoom(wanted) {
  zoom = Math.min(LARGEST, Math.max(SMALLEST, wanted));
  inner.style.setProperty("--zoom", zoom);
}

function fit() {
  const width = Number(getComputedStyle(graph).getPropertyValue("--w"));
  if (width) setZoom(Math.min(1, (graph.clientWidth - 4) / width));
}

const nodes = () => [...inner.querySelectorAll(".node")];
const middle = (node) => {
  const box = node.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
};
const WAYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

// The nearest in that direction, along an edge if there is one.
function next(from, [dx, dy]) {
  const near = from.dataset.near.split(" ");
  const [x, y] = middle(from);
  let best = null, least = Infinity;
  for (const node of nodes()) {
    const [nx, ny] = middle(node);
    const ahead = (nx - x) * dx + (ny - y) * dy;
    if (node === from || ahead < 2) continue;
    const aside = Math.abs((nx - x) * dy) + Math.abs((ny - y) * dx);
    const far = ahead + 2 * aside + (near.includes(node.dataset.step) ? 0 : 1e6);
    if (far < least) [best, least] = [node, far];
  }
  return best;
}

function nextFailed() {
  const all = nodes();
  const bad = all.filter((node) => BAD.includes(node.dataset.status));
  const at = all.indexOf(document.activeElement);
  (bad.find((node) => all.indexOf(node) > at) ?? bad[0])?.focus();
}

if (graph) {
  fit();
  addEventListener("resize", fit);
  graph.addEventListener("keydown", (event) => {
    const node = event.target.closest(".node");
    if (!node || !(event.key in WAYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    const found = next(node, WAYS[event.key]);
    event.preventDefault();
    found?.focus();
  });
  const card = graph.closest(".dag-card");
  const failed = card.querySelector("[data-next-failed]");
  const tell = () => { if (failed) failed.disabled = !nodes().some((node) => BAD.includes(node.dataset.status)); };
  tell();
  document.getElementById("live")?.addEventListener("live:part", tell);
  card.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button === failed) return nextFailed();
    if (button.dataset.zoom === "fit") return fit();
    setZoom(button.dataset.zoom === "in" ? zoom * STEP : zoom / STEP);
  });
  const chosen = inner.querySelector('.node[aria-current="true"]'); // the graph scrolls to it, the page does not move
  if (chosen) graph.scrollTo(chosen.offsetLeft * zoom - graph.clientWidth / 2, chosen.offsetTop * zoom - graph.clientHeight / 2);
}
