"use strict";
(() => {
  const given = JSON.parse(document.getElementById("given").textContent);
  const { conditions, factors, runs, steps } = given;
  const SVG = "http://www.w3.org/2000/svg";
  const all = (where, what) => [...where.querySelectorAll(what)];
  const main = document.querySelector("#main table");
  const rows = all(main, "tbody tr");
  const bare = () => ({ hide: factors.map(() => new Set()), range: null, step: null, base: null, sort: null, run: null, other: null, theme: null });
  let state = bare();
  let playing = 0;

  // -- small helpers ---------------------------------------------------------------------------------

  const make = (name, attributes = {}, ...inside) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...inside);
    return made;
  };
  const draw = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const brief = (value, digits = 3) => {
    if (!Number.isFinite(value)) return "–";
    const [head, power] = value.toPrecision(digits).split("e");
    if (power === undefined && (value === 0 || Math.abs(value) >= 1e-3)) return `${+head}`.replace("-", "−");
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    const raised = [...`${+exponent}`].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
    return `${+mantissa} × 10${raised}`.replace("-", "−");
  };
  const shown = (c) => factors.every((_, f) => !state.hide[f].has(conditions[c].options[f]));
  const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

  // -- the one number that is computed here: the slope within a range of distances -------------------

  const even = (value) => { // as numpy rounds: halves to the even neighbour
    const low = Math.floor(value);
    return value - low === 0.5 ? low + (low % 2) : Math.round(value);
  };
  const thinned = (count, most = 48) => {
    const n = Math.min(count, most);
    const apart = n > 1 ? (count - 1) / (n - 1) : 0;
    const found = [];
    for (let i = 0; i < n; i++) found.push(i === n - 1 && n > 1 ? count - 1 : even(i * apart));
    return [...new Set(found)];
  };
  const slopeWithin = (d, log, low, high) => {
    const kept = d.map((_, i) => i).filter((i) => d[i] >= low && d[i] <= high && log[i] !== null);
    if (kept.length < 2) return NaN;
    const at = thinned(kept.length).map((i) => kept[i]);
    const slopes = [];
    for (let i = 0; i < at.length; i++)
      for (let j = i + 1; j < at.length; j++) slopes.push((log[at[j]] - log[at[i]]) / (d[at[j]] - d[at[i]]));
    slopes.sort((a, b) => a - b);
    const half = slopes.length >> 1;
    return slopes.length % 2 ? slopes[half] : (slopes[half - 1] + slopes[half]) / 2;
  };
  const interval = (values) => {
    const finite = values.filter(Number.isFinite);
    const n = finite.length;
    if (!n) return null;
    const mean = finite.reduce((a, b) => a + b, 0) / n;
    const square = finite.reduce((a, b) => a + (b - mean) ** 2, 0);
    const apart = Math.max(...finite) - Math.min(...finite);
    const equal = apart <= 1e-9 * Math.max(...finite.map(Math.abs));
    const t = given.t[n - 1] ?? given.t[given.t.length - 1];
    const half = n >= given.fewest && !equal ? t * Math.sqrt(square / (n - 1) / n) : NaN;
    return { mean, low: mean - half, high: mean + half, n };
  };
  const rowAt = (run, step) => (run.step ? (step === null ? run.step.length - 1 : run.step.indexOf(step)) : -1);
  const runSlope = (r, [low, high], step) => {
    const run = runs[r];
    const row = rowAt(run, step);
    return row < 0 ? NaN : slopeWithin(run.d, run.curve[row], low, high);
  };
  const slopeOf = (c, range, step) => interval(conditions[c].runs.map((r) => runSlope(r, range, step)));
  const bySeed = (c, range, step) => {
    const found = new Map();
    for (const r of conditions[c].runs) {
      const values = found.get(runs[r].seed) ?? [];
      found.set(runs[r].seed, [...values, runSlope(r, range, step)]);
    }
    return new Map([...found].map(([seed, values]) => [seed, values.reduce((a, b) => a + b, 0) / values.length]));
  };
  const differenceOf = (c, base, range, step) => {
    const [ours, theirs] = [bySeed(c, range, step), bySeed(base, range, step)];
    return interval([...ours].filter(([seed]) => theirs.has(seed)).map(([seed, value]) => value - theirs.get(seed)));
  };
  const spoken = (found, sign = false) => {
    if (!found) return "–";
    const head = (sign && found.mean > 0 ? "+" : "") + brief(found.mean);
    return Number.isFinite(found.low) ? `${head} [${brief(found.low)}, ${brief(found.high)}]` : head;
  };

  // -- figures: panels, and what is drawn of each condition in them ----------------------------------

  const Y = { vanishing: "log_ratio", beginning: "log_ratio", nodes: "log_sum", rates: "slope", learning: null, success: "solved", saturation: "value", beside_task: null };
  const columnOf = (panel, c) => Y[panel.name] ?? conditions[c].metric; // each condition has its metric
  const LOGS = new Set(["log_ratio", "log_sum"]);
  const panels = [];
  for (const [name, figure] of Object.entries(given.figures)) {
    figure.panels.forEach((panel, place) => {
      const group = document.getElementById(`${name}-axes_${place + 1}`);
      if (!group || !(name in Y)) return;
      const members = [...new Set(all(group, "[data-c]").map((one) => +one.dataset.c))];
      panels.push({ ...panel, name, group, members, svg: group.ownerSVGElement, series: figure.series });
    });
  }
  const px = (panel, x) => panel.x[0] + ((x - panel.xlim[0]) / (panel.xlim[1] - panel.xlim[0])) * (panel.x[1] - panel.x[0]);
  const py = (panel, y) => panel.y[0] + ((y - panel.ylim[0]) / (panel.ylim[1] - panel.ylim[0])) * (panel.y[1] - panel.y[0]);
  const back = (panel, x) => panel.xlim[0] + ((x - panel.x[0]) / (panel.x[1] - panel.x[0])) * (panel.xlim[1] - panel.xlim[0]);
  const stepping = () => state.step !== null && state.step !== given.step;
  const points = (panel, c) => { // as [x, y] in the units of the axes
    const trained = conditions[c].training[state.step];
    if (panel.view === "curve" && panel.name === "vanishing" && stepping())
      return trained ? trained[0].map((d, i) => [d, trained[1][i] === null ? null : trained[1][i] / Math.LN10]) : [];
    if (panel.view === "start" && panel.name === "vanishing") {
      const first = conditions[c].training[steps[0]];
      return first ? first[0].map((d, i) => [d, first[1][i] === null ? null : first[1][i] / Math.LN10]) : [];
    }
    const one = panel.series.find((series) => series.c === c && (!series.panel || series.panel === panel.view));
    if (!one) return [];
    const [x, y] = [Object.values(one.columns)[0], one.columns[columnOf(panel, c)]];
    const scale = LOGS.has(Y[panel.name]) ? 1 / Math.LN10 : 1;
    return x.map((at, i) => [at, y[i] === null ? null : y[i] * scale]);
  };
  const place = (event, panel) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(panel.svg.getScreenCTM().inverse());
    return [at.x, at.y];
  };
  const nearest = (panel, [x, y]) => {
    let best = null;
    for (const c of panel.members.filter(shown)) {
      let here = null;
      for (const [at, value] of points(panel, c)) {
        if (value === null) continue;
        const aside = Math.abs(px(panel, at) - x);
        if (!here || aside < here.aside) here = { aside, at, value };
      }
      if (!here) continue;
      const far = Math.abs(py(panel, here.value) - y);
      if (!best || far < best.far) best = { c, far, ...here };
    }
    return best && best.far < 30 ? best : null;
  };

  // -- lighting up ------------------------------------------------------------------------------------

  const marked = conditions.map(() => []); // everything that is of a condition, but for what is moved
  for (const one of all(document, "[data-c]")) marked[+one.dataset.c]?.push(one);
  const off = conditions.map(() => false);
  let lit = null;
  const light = (c) => {
    if (c === lit) return;
    const moved = all(document, ".moved");
    if (lit !== null) {
      for (const one of [...marked[lit], ...moved]) {
        one.classList.remove("lit");
        one.closest("svg:not(.key)")?.classList.remove("lighting");
      }
    }
    lit = c;
    if (c === null) return;
    for (const one of [...marked[c], ...moved.filter((copy) => +copy.dataset.c === c)]) {
      one.classList.add("lit");
      one.closest("svg:not(.key)")?.classList.add("lighting");
    }
  };
  const tip = make("div", { class: "tip", hidden: true });
  document.body.append(tip);
  const hover = (event, panel) => {
    const found = nearest(panel, place(event, panel));
    light(found ? found.c : null);
    tip.hidden = !found;
    if (!found) return;
    const x = panel.name === "vanishing" || panel.name === "beginning" ? `d = ${found.at}` : panel.name === "nodes" ? `depth ${found.at}` : panel.name === "beside_task" ? `slope ${brief(found.at)}` : `step ${found.at}`;
    const y = LOGS.has(Y[panel.name]) ? `× ${brief(10 ** found.value)}` : brief(found.value);
    tip.textContent = `${conditions[found.c].label}: ${x}, ${y}`;
    const left = Math.min(event.pageX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${event.pageY + 16}px`;
  };
  const quiet = () => { tip.hidden = true; light(null); };
  document.addEventListener("pointerover", (event) => {
    const one = event.target.closest("tr[data-c], li[data-c]");
    if (one) light(+one.dataset.c);
    else if (!event.target.closest(".over")) quiet();
  });
  document.addEventListener("focusin", (event) => {
    const one = event.target.closest("tr[data-c]");
    light(one ? +one.dataset.c : null);
  });

  // -- brushing a range of distances ------------------------------------------------------------------

  const ofDistance = panels.filter((panel) => ["vanishing", "beginning"].includes(panel.name));
  const reach = [Infinity, -Infinity];
  for (const run of runs) for (const d of run.d ?? []) if (d >= 1) { reach[0] = Math.min(reach[0], d); reach[1] = Math.max(reach[1], d); }
  const snapped = (panel, x) => Math.min(reach[1], Math.max(reach[0], Math.round(back(panel, x))));
  for (const panel of panels) {
    panel.brush = draw("rect", { class: "brushed", visibility: "hidden", y: panel.y[1], height: panel.y[0] - panel.y[1] });
    const [x, width] = [panel.x[0], panel.x[1] - panel.x[0]];
    const over = draw("rect", { class: "over", x, width, y: panel.y[1], height: panel.y[0] - panel.y[1], fill: "transparent" });
    panel.svg.append(panel.brush, over);
    let from = null;
    const brushes = ofDistance.includes(panel) && reach[1] > reach[0];
    if (!brushes) over.style.cursor = "default";
    over.addEventListener("pointerdown", (event) => {
      if (!brushes || event.button) return;
      from = place(event, panel)[0];
      over.setPointerCapture(event.pointerId);
    });
    over.addEventListener("pointermove", (event) => {
      if (from === null) return hover(event, panel);
      const to = place(event, panel)[0];
      if (Math.abs(to - from) < 4) return;
      tip.hidden = true;
      const ends = [snapped(panel, from), snapped(panel, to)].sort((a, b) => a - b);
      if (ends[0] < ends[1]) { state.range = ends; renew(); }
    });
    over.addEventListener("pointerup", (event) => {
      if (from !== null && Math.abs(place(event, panel)[0] - from) < 4 && state.range) { state.range = null; renew(); }
      from = null;
    });
    over.addEventListener("pointerleave", quiet);
  }

  // -- stepping through training ----------------------------------------------------------------------

  const titles = new Map();
  const step = () => {
    for (const panel of panels.filter((one) => one.view === "curve" && one.name === "vanishing")) {
      all(panel.group, ".moved").forEach((one) => one.remove());
      for (const title of all(panel.group, "text").filter((one) => titles.has(one) || /^at (the )?(last )?step|^at the /.test(one.textContent))) {
        if (!titles.has(title)) titles.set(title, title.textContent);
        title.textContent = stepping() ? `at step ${state.step}` : titles.get(title);
      }
      for (const one of all(panel.group, ".cond")) one.classList.toggle("old", stepping());
      if (stepping()) for (const c of panel.members) moved(panel, c);
    }
    for (const panel of panels.filter((one) => ["rates", "learning", "saturation"].includes(one.name))) {
      all(panel.svg, `.at-step-${panel.view}`).forEach((one) => one.remove());
    }
    for (const panel of panels.filter((one) => ["rates", "learning", "saturation"].includes(one.name) && stepping())) {
      const x = px(panel, state.step);
      panel.svg.append(draw("line", { class: `at-step-${panel.view}`, x1: x, x2: x, y1: panel.y[1], y2: panel.y[0], style: "stroke:var(--link);stroke-width:1" }));
    }
  };
  const moved = (panel, c) => {
    const line = all(panel.group, `.cond[data-c="${c}"]`).find((one) => one.querySelector(":scope > path[style*='fill: none']"));
    if (!line) return;
    const copy = line.cloneNode(true);
    copy.classList.remove("old");
    copy.classList.add("moved");
    const at = points(panel, c).filter(([d]) => d >= 1);
    let path = "", pen = false;
    const places = [];
    for (const [d, value] of at) {
      if (value === null) { pen = false; continue; }
      const y = Math.max(panel.y[1] - 2000, Math.min(panel.y[0] + 2000, py(panel, value)));
      path += `${pen ? "L" : "M"}${px(panel, d).toFixed(2)} ${y.toFixed(2)}`;
      places.push([px(panel, d), y]);
      pen = true;
    }
    copy.querySelector("path[style*='fill: none']").setAttribute("d", path || "M0 0");
    const signs = all(copy, "use");
    signs.slice(1).forEach((one) => one.remove());
    const every = Math.max(1, places.length >> 3);
    signs.slice(0, 1).forEach((one) => {
      places.filter(([, y], i) => i % every === c % every && y <= panel.y[0] && y >= panel.y[1]).forEach(([x, y]) => {
        const sign = one.cloneNode(true);
        sign.setAttribute("x", x);
        sign.setAttribute("y", y);
        one.before(sign);
      });
      one.remove();
    });
    line.after(copy);
  };

  // -- the table: columns for the range and the baseline, sorting -------------------------------------

  const headings = [...main.tHead.rows[0].cells].map((one) => one.textContent);
  const verdictAt = headings.indexOf("verdict");
  const aside = new Set(headings.map((_, i) => i).filter((i) => headings[i].startsWith("far ratio") || (verdictAt >= 0 && i > verdictAt)));
  let wide = false;
  let order = "";
  const added = () => all(main, ".added").forEach((one) => one.remove());
  const columnsOf = () => {
    const before = wide;
    const ranged = state.range ?? (state.base !== null && reach[1] > reach[0] ? [...reach] : null);
    added();
    rows.forEach((row) => row.classList.toggle("base", +row.dataset.c === state.base));
    wide = ranged !== null;
    if (wide !== before) for (const row of main.rows) [...row.cells].forEach((one, i) => one.classList.toggle("aside", wide && aside.has(i)));
    if (!ranged) return "";
    const at = state.step ?? given.step;
    const named = `d ${ranged[0]}–${ranged[1]}`;
    const head = main.tHead.rows[0];
    const about = `Theil-Sen slope in nats per application over ${named}, mean over seeds with Student's 95% interval`;
    head.append(make("th", { class: "n added", scope: "col", title: about }, `slope, ${named}`));
    if (state.base !== null)
      head.append(make("th", { class: "n added", scope: "col", title: "paired by seed, 95% interval, each by itself" }, "less baseline"));
    for (const row of rows) {
      const c = +row.dataset.c;
      const found = slopeOf(c, ranged, at);
      row.append(make("td", { class: "n added", "data-v": found ? found.mean : "" }, ...split(spoken(found))));
      if (state.base === null) continue;
      const less = c === state.base ? null : differenceOf(c, state.base, ranged, at);
      row.append(make("td", { class: "n added", "data-v": less ? less.mean : "" }, ...split(spoken(less, true))));
    }
    return named;
  };
  const split = (text) => {
    const [head, rest] = text.split(" [");
    return rest ? [head, " ", make("span", { class: "iv" }, `[${rest}`)] : [head];
  };
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = (cell?.dataset.v ?? cell?.textContent ?? "").trim();
    const number = cell?.dataset.v === undefined ? NaN : parseFloat(text.replaceAll(",", "").replace(/^[^\d.+-]+/, ""));
    return [number, text];
  };
  const sorted = (table, column, down) => {
    const body = table.tBodies[0];
    const order = [...body.rows].sort((a, b) => (a.dataset.c ?? 0) - (b.dataset.c ?? 0));
    const numeric = order.some((row) => Number.isFinite(valueOf(row, column ?? 0)[0]));
    if (column !== null) order.sort((a, b) => {
      const [[x, s], [y, t]] = [valueOf(a, column), valueOf(b, column)];
      if (!numeric) return (down ? -1 : 1) * s.localeCompare(t, "en", { numeric: true });
      if (Number.isFinite(x) !== Number.isFinite(y)) return Number.isFinite(x) ? -1 : 1;
      return (down ? -1 : 1) * (x - y || 0);
    });
    body.append(...order);
    [...table.tHead.rows[0].cells].forEach((cell, i) => {
      if (i === column) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  };
  for (const table of all(document, "table.of-conditions")) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      const push = () => {
        const now = cell.getAttribute("aria-sort");
        const next = now === null ? [column, false] : now === "ascending" ? [column, true] : null;
        if (table !== main) return sorted(table, ...(next ?? [null, false]));
        state.sort = next;
        renew();
      };
      cell.replaceChildren(make("button", { type: "button", onclick: push }, cell.textContent));
    });
  }

  // -- tools ------------------------------------------------------------------------------------------

  const tools = document.getElementById("tools");
  tools.setAttribute("role", "region");
  tools.setAttribute("aria-label", "Filter and look");
  const hush = make("p", { class: "hush", role: "status", "aria-live": "polite" });
  const menus = factors.map((factor, f) => {
    const boxes = factor.options.map((option) =>
      make("label", {}, make("input", { type: "checkbox", checked: true, "data-option": option, onchange: (event) => {
        if (event.target.checked) state.hide[f].delete(option);
        else state.hide[f].add(option);
        renew();
      } }), option.length > 40 ? `${option.slice(0, 39)}…` : option));
    const whole = (on) => () => { state.hide[f] = new Set(on ? [] : factor.options); renew(); };
    const buttons = make("div", { class: "group" },
      make("button", { type: "button", class: "button", onclick: whole(true) }, "all"),
      make("button", { type: "button", class: "button", onclick: whole(false) }, "none"));
    return make("details", { class: "menu", "data-factor": factor.name }, make("summary", { class: "button" }, factor.name), make("div", {}, buttons, ...boxes));
  });
  document.addEventListener("pointerdown", (event) => menus.forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; }));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menus.filter((menu) => menu.open).forEach((menu) => { menu.open = false; menu.firstChild.focus(); });
  });
  const count = make("span", { id: "count" });
  const slider = make("input", { type: "range", id: "step", min: 0, max: Math.max(0, steps.length - 1), step: 1, "aria-label": "optimiser step",
    oninput: () => { stop(); state.step = steps[+slider.value]; renew(); } });
  const stepNow = make("output", { for: "step" });
  const play = make("button", { type: "button", class: "button", id: "play", "aria-label": "play through training", onclick: () => (playing ? stop() : start()) }, "▶");
  const stop = () => { clearInterval(playing); playing = 0; play.textContent = "▶"; play.setAttribute("aria-label", "play through training"); };
  const start = () => {
    let next = +slider.value >= steps.length - 1 ? 0 : +slider.value + 1;
    const go = () => { state.step = steps[next]; renew(); if (++next >= steps.length) stop(); };
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "stop");
    playing = setInterval(go, 450);
    go();
  };
  const ends = [0, 1].map((end) => make("input", { type: "number", min: reach[0], max: reach[1], "aria-label": end ? "to distance" : "from distance",
    onchange: (event) => {
      const range = [...(state.range ?? reach)];
      range[end] = Math.min(reach[1], Math.max(reach[0], Math.round(+event.target.value) || reach[end]));
      state.range = range[0] < range[1] ? range : null;
      renew();
    } }));
  const base = make("select", { id: "base", "aria-label": "baseline", onchange: () => { state.base = base.value === "" ? null : +base.value; renew(); } },
    make("option", { value: "" }, "none"), ...conditions.map((one, c) => make("option", { value: c }, one.label)));
  const theme = make("button", { type: "button", class: "button", id: "theme", onclick: () => {
    state.theme = { null: "dark", dark: "light", light: null }[state.theme];
    renew();
  } });
  const reset = make("button", { type: "button", class: "button", id: "reset", onclick: () => { stop(); state = { ...bare(), theme: state.theme }; renew(); } }, "reset");
  if (factors.length) tools.append(make("span", { class: "group" }, "Show", ...menus, count));
  if (steps.length > 1) tools.append(make("span", { class: "group" }, "Step", play, slider, stepNow));
  if (reach[1] > reach[0]) tools.append(make("span", { class: "group", title: "or drag across the figure" }, "Slope from d", ends[0], "to", ends[1]));
  if (conditions.length > 1 && reach[1] > reach[0]) tools.append(make("label", {}, "Baseline", base));
  tools.append(make("span", { class: "group push" }, reset, theme), hush);
  const whole = make("p", { class: "quiet", id: "whole", hidden: true });
  document.querySelector(".lead")?.before(whole);
  document.documentElement.classList.add("live");

  // -- one run ----------------------------------------------------------------------------------------

  const dialog = make("dialog", { "aria-labelledby": "run-title" });
  document.body.append(dialog);
  dialog.addEventListener("close", () => { state.run = state.other = null; written(); });
  const open = (r) => { state.run = r; renew(); };
  const rowsOfRuns = all(document.getElementById("runs")?.nextElementSibling ?? document.createElement("p"), "tbody tr");
  rowsOfRuns.forEach((row, r) => {
    const name = row.cells[0];
    if (r < runs.length) name.replaceChildren(make("button", { type: "button", class: "open", onclick: () => open(r) }, name.textContent));
  });
  const seedColumn = [...main.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "seeds");
  for (const row of rows) {
    const c = +row.dataset.c;
    const cell = row.cells[seedColumn];
    if (!cell || !conditions[c].runs.length) continue;
    const label = `open the runs of ${conditions[c].label}`;
    cell.replaceChildren(make("button", { type: "button", class: "open", "aria-label": `${cell.textContent}, ${label}`, title: label, onclick: () => open(conditions[c].runs[0]) }, cell.textContent));
  }
  const conditionOf = (r) => conditions.findIndex((one) => one.runs.includes(r));
  const emptied = (name) => {
    const template = document.getElementById(`of-${name}`);
    const panel = given.run_figures[name];
    return template && panel ? [template.content.firstElementChild.cloneNode(true), panel] : null;
  };
  const learningOf = (r, other) => {
    const found = emptied(`run-learning-${given.metrics.indexOf(runs[r].metric_name)}`);
    if (!found || !runs[r].learning) return null;
    const [svg, panel] = found;
    const curve = (one, style) => {
      const [x, y] = runs[one].learning;
      let path = "", pen = false;
      x.forEach((at, i) => {
        if (y[i] === null) { pen = false; return; }
        path += `${pen ? "L" : "M"}${px(panel, at).toFixed(2)} ${py(panel, y[i]).toFixed(2)}`;
        pen = true;
      });
      svg.append(draw("path", { d: path, fill: "none", style }));
    };
    if (other !== null && runs[other].learning && runs[other].metric_name === runs[r].metric_name) curve(other, "stroke:var(--muted);stroke-width:1.4;stroke-dasharray:4 3");
    curve(r, "stroke:var(--c0);stroke-width:1.8");
    return svg;
  };
  const heatOf = (r) => {
    const found = emptied("run-heat");
    const run = runs[r];
    if (!found || !run.norm?.length) return null;
    const [svg, panel] = found;
    const [last, [low, high]] = [Math.round(panel.xlim[1] - 0.5), panel.clim];
    const canvas = make("canvas", { width: last + 1, height: panel.steps.length });
    const pen = canvas.getContext("2d");
    run.norm.forEach((values, row) => {
      const y = panel.steps.length - 1 - panel.steps.indexOf(run.step[row]);
      values.forEach((value, i) => {
        if (value === null) return;
        const left = i ? Math.ceil((run.d[i - 1] + run.d[i]) / 2) : run.d[i];
        const right = i + 1 < run.d.length ? Math.ceil((run.d[i] + run.d[i + 1]) / 2) : run.d[i] + 1;
        const shade = Math.round(((value - low) / (high - low)) * (given.shades.length - 1));
        pen.fillStyle = given.shades[Math.min(given.shades.length - 1, Math.max(0, shade))];
        pen.fillRect(left, y, right - left, 1);
      });
    });
    const image = draw("image", { x: panel.x[0], y: panel.y[1], width: panel.x[1] - panel.x[0], height: panel.y[0] - panel.y[1], preserveAspectRatio: "none", style: "image-rendering:pixelated" });
    image.setAttribute("href", canvas.toDataURL("image/png"));
    svg.append(image);
    return svg;
  };
  const tableOf = (head, lines, caption) => make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...lines.map(([key, ...cells]) => make("tr", {}, make("th", { scope: "row" }, key), ...cells.map((cell) => make("td", {}, cell)))))));
  const differing = (r, other) => {
    const [ours, theirs] = [runs[r].config, runs[other].config];
    return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].filter((key) => ours[key] !== theirs[key])
      .map((key) => [key, ours[key] ?? "–", theirs[key] ?? "–"]);
  };
  const fill = (r) => {
    const run = runs[r];
    const other = state.other;
    const near = conditions[conditionOf(r)]?.runs ?? [r];
    const pick = (id, label, value, choose, none) => make("label", {}, `${label} `, make("select", { id, onchange: (event) => choose(event.target.value) },
      ...(none ? [make("option", { value: "" }, none)] : []),
      ...runs.map((one, i) => make("option", { value: i, selected: i === value }, one.name))));
    const turn = (by) => () => { state.run = near[(near.indexOf(r) + by + near.length) % near.length]; renew(); };
    const facts = [`${conditions[conditionOf(r)]?.label ?? ""}, seed ${run.seed}`, run.status, counted(run.steps, "step"),
      `${run.parameters.toLocaleString("en")} parameters`, `${run.metric_name} ${brief(run.metric ?? NaN)}`, run.engine && `engine ${run.engine}`, `started ${run.start}`];
    const figures = [learningOf(r, other), heatOf(r)].filter(Boolean);
    const settings = Object.entries({ ...given.common, ...run.config }).sort(([a], [b]) => (a < b ? -1 : 1));
    dialog.replaceChildren(
      make("div", { class: "row" }, make("h2", { id: "run-title" }, `Run ${run.name}`),
        make("button", { type: "button", class: "button push", id: "close", onclick: () => dialog.close() }, "close")),
      make("p", { class: "quiet" }, facts.filter(Boolean).join(" · ")),
      make("div", { class: "row" }, pick("which", "Run", r, (value) => { state.run = +value; renew(); }),
        make("button", { type: "button", class: "button", onclick: turn(-1) }, "previous seed"), make("button", { type: "button", class: "button", onclick: turn(1) }, "next seed"),
        pick("other", "Difference to", other, (value) => { state.other = value === "" ? null : +value; renew(); }, "no other run")),
      make("div", { class: "pair" }, ...figures),
      ...(other === null ? [] : [tableOf(["key", run.name, runs[other].name], differing(r, other), "What differs in the configuration")]),
      ...(run.missing.length ? [make("p", {}, `Missing: ${run.missing.join("; ")}`)] : []),
      make("h3", {}, "Command"), make("pre", { tabindex: 0 }, run.command),
      ...(run.log?.length ? [make("h3", {}, "End of the log"), make("pre", { id: "log", tabindex: 0 }, run.log.join("\n"))] : []),
      make("details", {}, make("summary", {}, `Configuration, ${settings.length} keys`), tableOf(["key", "value"], settings, "Configuration")));
  };

  // -- downloads --------------------------------------------------------------------------------------

  const save = (name, text, type) => {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 5000);
  };
  const cell = (value) => {
    let text = value === null || value === undefined ? "" : `${value}`;
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csvOf = (name) => {
    const series = given.figures[name].series.filter((one) => shown(one.c));
    const columns = [...new Set(series.flatMap((one) => Object.keys(one.columns)))];
    const lines = [[...factors.map((factor) => factor.name), "at", "n", ...columns]];
    for (const one of series)
      Object.values(one.columns)[0].forEach((_, i) =>
        lines.push([...conditions[one.c].options, one.at ?? "", one.n ?? conditions[one.c].runs.length, ...columns.map((column) => one.columns[column]?.[i])]));
    return lines.map((line) => line.map(cell).join(",")).join("\n") + "\n";
  };
  const svgOf = (svg) => {
    const copy = svg.cloneNode(true);
    all(copy, ".off, .old, .over, [visibility=hidden]").forEach((one) => one.remove());
    copy.setAttribute("xmlns", SVG);
    const look = getComputedStyle(document.documentElement);
    const text = new XMLSerializer().serializeToString(copy);
    return text.replace(/var\((--[\w-]+)\)/g, (_, name) => look.getPropertyValue(name).trim());
  };
  for (const figure of all(document, "figure[data-figure]")) {
    const name = figure.dataset.figure;
    const svg = figure.querySelector("svg:not(.key)");
    figure.querySelector("h3").append(make("span", { class: "saves" },
      make("button", { type: "button", class: "button", "aria-label": `save the data of ${name} as CSV`, onclick: () => save(`${name}.csv`, csvOf(name), "text/csv") }, "CSV"),
      make("button", { type: "button", class: "button", "aria-label": `save the picture of ${name} as SVG`, onclick: () => save(`${name}.svg`, svgOf(svg), "image/svg+xml") }, "SVG")));
  }

  // -- the state, in the link and on the page ---------------------------------------------------------

  const written = () => {
    const parts = [];
    state.hide.forEach((hidden, f) => { for (const option of hidden) parts.push(["hide", `${factors[f].name}:${option}`]); });
    if (state.range) parts.push(["d", state.range.join("-")]);
    if (stepping()) parts.push(["step", state.step]);
    if (state.base !== null) parts.push(["base", conditions[state.base].label]);
    if (state.sort) parts.push(["sort", `${state.sort[0]}${state.sort[1] ? "-" : "+"}`]);
    if (state.run !== null) parts.push(["run", runs[state.run].name]);
    if (state.other !== null) parts.push(["other", runs[state.other].name]);
    if (state.theme) parts.push(["theme", state.theme]);
    const text = parts.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&");
    if (location.hash.slice(1) !== text) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  };
  const read = () => {
    state = bare();
    for (const part of location.hash.slice(1).split("&")) {
      const [key, raw = ""] = part.split("=");
      let value = raw;
      try { value = decodeURIComponent(raw); } catch { continue; }
      const named = (list, name) => { const found = list.indexOf(name); return found < 0 ? null : found; };
      if (key === "hide") {
        const f = factors.findIndex((factor) => value.startsWith(`${factor.name}:`));
        if (f >= 0) state.hide[f].add(value.slice(factors[f].name.length + 1));
      } else if (key === "d" && /^\d+-\d+$/.test(value)) {
        const [low, high] = value.split("-").map(Number);
        if (low < high && low >= reach[0] && high <= reach[1]) state.range = [low, high];
      } else if (key === "step" && steps.includes(+value)) state.step = +value;
      else if (key === "base") state.base = named(conditions.map((one) => one.label), value);
      else if (key === "sort" && /^\d+[+-]$/.test(value)) state.sort = [parseInt(value, 10), value.endsWith("-")];
      else if (key === "run") state.run = named(runs.map((one) => one.name), value);
      else if (key === "other") state.other = named(runs.map((one) => one.name), value);
      else if (key === "theme" && ["dark", "light"].includes(value)) state.theme = value;
    }
  };
  const renew = () => {
    conditions.forEach((_, c) => {
      if (off[c] === !shown(c)) return;
      off[c] = !off[c];
      for (const one of marked[c]) {
        if (one.ownerSVGElement) one.classList.toggle("off", off[c]);
        else one.hidden = off[c];
      }
    });
    const left = off.filter((hidden) => !hidden).length;
    count.textContent = left === conditions.length ? "" : `${left} of ${conditions.length}`;
    whole.hidden = left === conditions.length;
    whole.textContent = `The sentences, and the tables of what changed and what explains it, are of all ${conditions.length} conditions; ${left} are shown.`;
    menus.forEach((menu, f) => {
      menu.classList.toggle("some", state.hide[f].size > 0);
      all(menu, "input").forEach((box) => { box.checked = !state.hide[f].has(box.dataset.option); });
    });
    step();
    const at = state.step ?? given.step ?? steps[steps.length - 1];
    slider.value = Math.max(0, steps.indexOf(at));
    slider.setAttribute("aria-valuetext", `step ${at}`);
    stepNow.textContent = at === undefined ? "" : `${at}`;
    for (const panel of ofDistance) {
      panel.brush.setAttribute("visibility", state.range ? "visible" : "hidden");
      if (!state.range) continue;
      const [x, to] = state.range.map((d) => px(panel, d));
      panel.brush.setAttribute("x", x);
      panel.brush.setAttribute("width", Math.max(1, to - x));
    }
    ends.forEach((input, end) => { input.value = (state.range ?? reach)[end]; });
    base.value = state.base ?? "";
    const named = columnsOf();
    const asked = state.sort ? `${state.sort}${state.sort[0] >= headings.length ? `${named}${state.base}${state.step}` : ""}` : "";
    if (asked !== order) { sorted(main, ...(state.sort ?? [null, false])); order = asked; }
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    else delete document.documentElement.dataset.theme;
    theme.textContent = `theme: ${state.theme ?? "auto"}`;
    hush.textContent = `${left} of ${counted(conditions.length, "condition")} shown${named ? `, slope over ${named} in the table` : ""}.`;
    if (state.run !== null) {
      const focused = document.activeElement?.id;
      fill(state.run);
      if (!dialog.open) dialog.showModal();
      else if (focused) document.getElementById(focused)?.focus();
    } else if (dialog.open) dialog.close();
    written();
  };
  addEventListener("hashchange", () => { read(); renew(); });
  read();
  renew();
})();
