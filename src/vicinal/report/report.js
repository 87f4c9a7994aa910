"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const panel = document.getElementById("panel");

  // el("p.meta", {id: "x"}, "text", child, ...) builds an element; strings become text, never markup
  const el = (kind, attributes, ...children) => {
    const [name, ...classes] = kind.split(".");
    const svg = ["svg", "use", "line", "circle", "rect", "text"].includes(name);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    if (classes.length) node.setAttribute("class", classes.join(" "));
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    node.append(...children.flat(Infinity).filter((child) => child != null));
    return node;
  };
  const sign = (name) => el("svg.sign", { "aria-hidden": "true" }, el("use", { href: `#i-${name}` }));
  const number = (value, digits) => value.toFixed(digits).replace("-", "\u2212");
  const duration = (seconds) =>
    seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;

  const command = (line) =>
    el("div.command", null, el("code", null, line), el("button.copy", { type: "button", "aria-label": `Copy ${line}` }, "Copy"));

  const pairs = (entries) =>
    el("dl", null, entries.filter(([, value]) => value != null && value !== "").map(([key, value]) => [el("dt", null, key), el("dd", null, value)]));

  // The paper's number above, our seeds below, on one scale.
  const strip = (cell) => {
    const ours = (cell.values || []).map(([, value]) => value);
    if (!ours.length) return null;
    const mean = ours.reduce((a, b) => a + b, 0) / ours.length;
    const spread = cell.spread || 0;
    const every = [cell.value - spread, cell.value + spread, ...ours];
    const [low, high] = [Math.min(...every), Math.max(...every)];
    const room = (high - low) * 0.12 || Math.abs(high) * 0.05 || 1;
    const x = (value) => `${(3 + (94 * (value - low + room)) / (high - low + 2 * room)).toFixed(2)}%`;
    const kind = `m-${cell.verdict}`;
    const line = (name, a, b, y) => el(`line.${name}`, { x1: x(a), x2: x(b), y1: y, y2: y });
    const text = (value, y, words) => el("text", { x: x(value), y, "text-anchor": "middle" }, words);
    return el("svg.strip", { role: "img", "aria-label": `Paper ${cell.paper}, ours ${cell.ours}` },
      el("line.rule", { x1: "0%", x2: "100%", y1: 37, y2: 37 }),
      spread ? line("theirs", cell.value - spread, cell.value + spread, 25) : null,
      el("rect.theirs", { x: x(cell.value), y: 21.5, width: 7, height: 7, transform: "translate(-3.5)" }),
      text(cell.value, 14, "paper"),
      ours.map((value) => el(`circle.mine.${kind}`, { cx: x(value), cy: 49, r: 4, opacity: 0.6 })),
      el(`line.mine.${kind}`, { x1: x(mean), x2: x(mean), y1: 41, y2: 57 }),
      text(mean, 71, "ours"));
  };

  const seeds = (cell) => {
    const runs = data.runs[cell.run];
    if (!runs) return null;
    const values = new Map(cell.values || []);
    const rows = Object.keys(runs).map(Number).sort((a, b) => a - b).map((seed) => {
      const run = runs[seed];
      const link = el("a", { href: `${data.folder}/${cell.run.split("/").map(encodeURIComponent).join("/")}-seed${seed}.json` }, "record");
      if (run.failed) return el("tr", null, el("td", null, String(seed)), el("td", { colspan: 3 }, `failed: ${run.failed}`), el("td", null, link));
      const device = data.pool[run.sessions.at(-1)[1]].device;
      return el("tr", null, el("td", null, String(seed)),
        el("td.n", null, values.has(seed) ? number(values.get(seed), cell.digits) : ""),
        el("td.n", null, duration(run.seconds)),
        el("td", null, `${device.count > 1 ? `${device.count} × ` : ""}${device.name}`), el("td", null, link));
    });
    const head = ["seed", `${cell.measure}, ${cell.unit}`, "time", "device", "source"].map((name, i) => el(i === 1 || i === 2 ? "th.n" : "th", { scope: "col" }, name));
    return [el("h3", null, "Seed by seed"), el("div.scroll", null, el("table.plain", null, el("caption.vh", null, "Our runs, seed by seed"), el("thead", null, el("tr", null, head)), el("tbody", null, rows)))];
  };

  const provenance = (cell) => {
    const runs = data.runs[cell.run];
    if (!runs) return null;
    const groups = new Map(); // where sessions ran, by place in the pool -> which sessions
    const inputs = new Map();
    for (const [seed, run] of Object.entries(runs)) {
      if (run.failed) continue;
      for (const [step, place] of run.sessions) {
        if (!groups.has(place)) groups.set(place, []);
        groups.get(place).push(step ? `seed ${seed} from step ${step}` : `seed ${seed}`);
      }
      inputs.set(run.data, run);
    }
    const made = [...groups].map(([place, who]) => {
      const { git, device, machine, versions } = data.pool[place];
      const commit = git ? `${git.commit}${git.dirty ? ", with uncommitted changes" : ""}` : "unknown";
      return pairs([
        ["runs", who.join(", ")],
        ["commit", el("code", null, commit)],
        ["device", device && `${device.count} × ${device.name} (${device.type})`],
        ["machine", machine && Object.entries(machine).map(([key, value]) => `${key} ${value}`).join(", ")],
        ["versions", versions && Object.entries(versions).map(([key, value]) => `${key} ${value}`).join(", ")],
      ]);
    });
    const read = [...inputs].map(([place, run]) => {
      const { fingerprint, samples, canonical } = data.pool[place];
      const known = { true: "the original, verified by its fingerprint", false: "not the original" }[canonical] || "not known to be the original";
      return pairs([
        ["data", known],
        ["fingerprint", fingerprint && Object.entries(fingerprint).map(([key, value]) => `${key} ${value}`).join(", ")],
        ["samples", samples && Object.entries(samples).map(([key, value]) => `${value} ${key}`).join(", ")],
        ["epochs", String(run.epochs)],
        ["parameters", run.parameters.toLocaleString("en")],
      ]);
    });
    return made.length ? [el("h3", null, "Provenance"), made, read] : null;
  };

  // A cell, with the values that it shares with others filled in.
  const unpacked = (id) => {
    const cell = data.cells[id];
    const shared = (place) => (place == null ? null : data.pool[place]);
    return { where: data.tables[cell.table], ...cell, ...data.pool[cell.as],
      commands: shared(cell.commands), note: shared(cell.note), reduced: shared(cell.reduced), warnings: shared(cell.warnings) };
  };

  const show = (id, from) => {
    if (!data.cells[id]) return;
    const cell = unpacked(id);
    const close = el("button.close", { type: "button" }, "Close");
    close.addEventListener("click", () => panel.close());
    panel.replaceChildren(el("div", null,
      el("div.head", null, el("div", null,
        el("h2", { id: "panel-title" }, cell.label.filter(Boolean).join(", ")),
        el("p.meta", null, el("a", { href: `#${id}` }, cell.where), ` · ${cell.measure}, ${cell.unit} · ${cell.report}`)), close),
      el("div.pair", null,
        el("div", null, el("span", null, `paper${cell.quoted ? ", quoted" : ""}`), el("b", null, cell.paper), el("span", null, `${cell.paperRuns} run${cell.paperRuns > 1 ? "s" : ""}`)),
        cell.ours ? el("div", null, el("span", null, "ours"), el("b", null, cell.ours), el("span", null, "mean ± deviation (runs)")) : null),
      strip(cell),
      el(`p.says.k-${cell.verdict}`, null, sign(cell.verdict), cell.says),
      (cell.warnings || []).map((line) => el("p", null, el("b.doubt", null, "Our number. "), line)),
      cell.note ? el("p", null, el("b", null, "Note. "), cell.note) : null,
      cell.quoted ? el("p", null, `The paper quotes this number from ${cell.quoted}.`) : null,
      cell.reduced ? [el("h3", null, "How it is reduced"), el("ul", null, cell.reduced.map((line) => el("li", null, el("code", null, line))))] : null,
      seeds(cell),
      cell.commands.length ? [el("h3", null, "Command"), cell.commands.map(([what, line]) => [el("p.what", null, what), command(line)])] : null,
      cell.run ? [el("h3", null, "Run"), pairs([["name", el("code", null, cell.run)], ["planned seeds", cell.plan]])] : null,
      provenance(cell)));
    panel.querySelector(".head a").addEventListener("click", () => panel.close());
    if (!panel.open) {
      from.focus({ preventScroll: true }); // closing the panel returns the focus to it
      panel.showModal();
    }
    panel.scrollTop = 0;
    close.focus({ preventScroll: true });
  };

  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });

  const copy = async (button) => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch { // a page opened as a file may not write to the clipboard: select the text instead
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && button.classList.contains("copy")) copy(button);
    else if (button && button.closest("table.paper")) show(button.id, button);
    const mark = event.target.closest("[data-cell]");
    if (mark) show(mark.dataset.cell, document.getElementById(mark.dataset.cell));
  });

  // Arrow keys move to the next number in their direction and skip blank cells.
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const from = event.target.closest && event.target.closest("table.paper button");
    if (!step || !from || event.altKey || event.ctrlKey || event.metaKey) return;
    const found = /^(.*)-(\d+)-(\d+)$/.exec(from.id);
    for (let i = 1; i < 200; i += 1) {
      const to = document.getElementById(`${found[1]}-${+found[2] + i * step[1]}-${+found[3] + i * step[0]}`);
      if (to) { event.preventDefault(); to.focus(); return; }
    }
  });

  // A link to a number opens its details.
  const follow = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    const button = document.getElementById(id);
    if (button && data.cells[id]) { button.scrollIntoView({ block: "center" }); show(id, button); }
  };
  addEventListener("hashchange", follow);
  follow();

  const contents = document.getElementById("contents");
  matchMedia("(min-width: 1000px)").addEventListener("change", (wide) => { contents.open = wide.matches; });
  const links = new Map([...contents.querySelectorAll("li ul a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (entry.isIntersecting) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const id of links.keys()) {
    const section = document.getElementById(id);
    if (section) seen.observe(section);
  }

  addEventListener("beforeprint", () => { for (const each of document.querySelectorAll("main details")) each.open = true; });
})();
