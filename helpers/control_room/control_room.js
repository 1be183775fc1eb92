// The control room in the browser: it shows the frames that widget.py sends, and sends the names of the buttons.

const STYLE = `
.control-room { font-family: sans-serif; font-size: 14px; max-width: 1100px; padding: 2px; }
.control-room .controls, .control-room .pictures { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; }
.control-room .pictures { gap: 6px; margin: 6px 0; }
.control-room button, .control-room select { font: inherit; min-height: 30px; padding: 2px 12px; }
.control-room button:disabled { opacity: 0.5; }
.control-room label { display: inline-flex; align-items: center; gap: 6px; min-height: 30px; }
.control-room input[type="range"] { width: 120px; }
.control-room b { min-width: 1.8em; }
.control-room [hidden] { display: none; }
.control-room fieldset { display: flex; flex-wrap: wrap; gap: 0 12px; border: 0; margin: 0; padding: 0; }
.control-room legend { float: left; padding: 0; margin-right: 6px; line-height: 30px; }
.control-room svg { flex: 1 1 300px; min-width: 0; max-width: 460px; background: white; border: 1px solid #bbb; }
.control-room p { margin: 4px 0; min-height: 1.4em; }
.control-room .alert { padding: 2px 8px; border-left: 6px solid #6b6b6b; }
.control-room .alert[data-state="pending"] { border-color: #e69f00; font-weight: bold; }
.control-room .alert[data-state="firing"] { border-color: #d55e00; background: #d55e00; color: #000; font-weight: bold; }
`;

const CONTROLS = `
<div class="controls">
  <button data-do="start">Start</button>
  <button data-do="pause">Pause</button>
  <button data-do="stop">Stop</button>
  <button data-do="kill">Kill a worker</button>
  <label>Engine <select data-do="engine"><option>threads</option><option>processes</option></select></label>
</div>
<div class="controls">
  <label><span>Workers</span> <input type="range" data-do="workers" min="1" max="20"><b aria-hidden="true"></b></label>
  <label>At most <input type="range" data-do="max_workers" min="1" max="20"><b aria-hidden="true"></b></label>
  <label>Jobs per second <input type="range" data-do="rate" min="0" max="100"><b aria-hidden="true"></b></label>
  <fieldset data-do="mode"><legend>Service:</legend></fieldset>
</div>
<div class="pictures"></div>
<p class="alert"></p>
<p class="status" aria-live="polite"></p>`;

const PAUSE_BETWEEN_TEXTS = 2000; // milliseconds, so that a screen reader can finish
const MOVE_TIME = 350; // milliseconds that a job takes from one place to the next

let views = 0; // The radio buttons of each view need a name of their own.

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "control-room";
  root.dataset.lmSuppressShortcuts = "true"; // A key that is pressed here is not a command of JupyterLab.
  root.innerHTML = `<style>${STYLE}</style>${CONTROLS}`;
  const find = (selector) => root.querySelector(selector);
  const named = (name) => find(`[data-do="${name}"]`);
  const send = (name, value = null) => model.send({ do: name, value });
  const setup = model.get("setup");
  const drawings = addPictures(find(".pictures"), setup);
  addModes(named("mode"), setup.modes, `control-room-mode-${views++}`);
  named("max_workers").parentElement.hidden = !setup.elastic;
  if (setup.elastic) named("workers").parentElement.querySelector("span").textContent = "Workers, at least";
  const say = limited(find(".status"));

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) send(button.dataset.do);
  });
  root.addEventListener("input", (event) => {
    const name = event.target.closest("[data-do]").dataset.do;
    const value = event.target.type === "range" ? Number(event.target.value) : event.target.value;
    if (event.target.type === "range") event.target.nextElementSibling.textContent = value;
    send(name, value);
  });

  function update() {
    const frame = model.get("frame");
    named("start").disabled = !frame.may_start;
    named("stop").disabled = named("pause").disabled = !["running", "paused"].includes(frame.state);
    named("pause").textContent = frame.state === "paused" ? "Resume" : "Pause";
    named("kill").disabled = frame.engine !== "processes" || named("stop").disabled;
    named("kill").title = frame.engine === "processes" ? "" : "A thread cannot be killed: choose processes";
    named("engine").disabled = !frame.may_start;
    named("engine").value = frame.engine;
    for (const [name, value] of [["workers", frame.min_workers], ["max_workers", frame.max_workers], ["rate", frame.rate]])
      setRange(named(name), value);
    named("mode").querySelector(`[value="${frame.mode}"]`).checked = true;
    for (const [name, inside] of Object.entries(frame.pictures)) drawings[name].children[1].innerHTML = inside;
    move(drawings.flow.lastElementChild, frame.moves);
    find(".alert").dataset.state = frame.alert;
    find(".alert").textContent = frame.alert_words;
    say(frame.status);
  }
  update();
  model.on("change:frame", update);
  el.append(root);
  return () => model.off("change:frame", update);
}

// Three pictures, each with a title for screen readers, a group for the frames, and a group for the jobs that move.
function addPictures(parent, setup) {
  const drawings = {};
  for (const [name, title] of Object.entries(setup.titles)) {
    parent.insertAdjacentHTML(
      "beforeend",
      `<svg role="img" viewBox="0 0 ${setup.width} ${setup.height}" font-family="sans-serif">` +
        `<title>${title}</title><g></g><g></g></svg>`,
    );
    drawings[name] = parent.lastElementChild;
  }
  return drawings;
}

function addModes(fieldset, modes, group) {
  for (const mode of modes)
    fieldset.insertAdjacentHTML(
      "beforeend",
      `<label><input type="radio" name="${group}" value="${mode}">${mode}</label>`,
    );
}

// Show a value, but do not take a slider out of the hand that moves it.
function setRange(input, value) {
  if (document.activeElement === input) return;
  input.value = value;
  input.nextElementSibling.textContent = value;
}

// Let a dot run along each way. Nothing moves for people who have asked for that, or while nobody sees it.
function move(group, ways) {
  if (document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const [x1, y1, x2, y2] of ways) {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("r", 4);
    group.append(dot);
    const [from, to] = [`translate(${x1}px, ${y1}px)`, `translate(${x2}px, ${y2}px)`];
    const options = { duration: MOVE_TIME, delay: Math.random() * 100, fill: "backwards" };
    dot.animate([{ transform: from }, { transform: to }], options).onfinish = () => dot.remove();
  }
}

// Return a function that shows the newest text, but changes it at most once in two seconds.
function limited(element) {
  let newest = "";
  let timer = null;
  const show = () => {
    timer = null;
    if (element.textContent === newest) return;
    element.textContent = newest;
    timer = setTimeout(show, PAUSE_BETWEEN_TEXTS);
  };
  return (words) => {
    newest = words;
    if (timer === null) show();
  };
}

export default { render };
