"use strict";
// Curves, timeline and copy buttons of a Limbeck report. No library, nothing fetched.
(() => {
  const WIDTH = 320, HEIGHT = 170, LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 20;
  const SVG = "http://www.w3.org/2000/svg";
  const logBox = document.querySelector("[data-log]"), smoothBox = document.querySelector("[data-smooth]");

  const element = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const written = (value) => {
    if (value === null) return "not finite";
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(4))) : value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  };
  const niceTicks = (low, high, count) => {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= 0.7 * rough);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(k * step);
    return ticks;
  };
  const logTicks = (low, high) => {
    const ticks = [];
    for (let power = Math.floor(low); power <= Math.ceil(high); power++)
      for (const k of high - low > 3 ? [1] : [1, 2, 5]) {
        const at = power + Math.log10(k);
        if (at >= low - 1e-9 && at <= high + 1e-9) ticks.push(at);
      }
    if (high - low < 0.8) return niceTicks(10 ** low, 10 ** high, 5).filter((t) => t > 0).map(Math.log10);
    const every = Math.ceil(ticks.length / 6);
    return ticks.filter((_, k) => k % every === 0);
  };
  // exponential moving average over points, without the bias of its start; holes stay holes
  const smoothed = (values, weight) => {
    let average = 0, mass = 0;
    return values.map((value) => {
      if (value === null) return null;
      average = weight * average + (1 - weight) * value;
      mass = weight * mass + (1 - weight);
      return average / mass;
    });
  };

  const draw = (figure) => {
    const chart = figure.chart, plot = figure.querySelector(".plot"), readout = figure.querySelector("output");
    const log = logBox.checked, weight = chart.exact ? 0 : Number(smoothBox.value);
    const usable = (value) => value !== null && (!log || value > 0);
    const place = (value) => (usable(value) ? (log ? Math.log10(value) : value) : null);
    const smooth = smoothed(chart.y, weight).map(place), raw = chart.y.map(place);
    const references = chart.references.filter((r) => usable(r.y)).map((r) => ({ label: r.label, at: place(r.y) }));
    const seen = raw.concat(references.map((r) => r.at)).filter((value) => value !== null);
    plot.replaceChildren();
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
    plot.append(svg);
    if (!seen.length) {
      svg.append(element("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, log ? "nothing above zero" : "nothing finite"));
      return;
    }
    let low = Math.min(...seen), high = Math.max(...seen);
    const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    if (!log && low >= 0 && low - pad < 0) low = 0; else low -= pad;
    high += pad;
    const first = chart.x[0], last = chart.x[chart.x.length - 1], span = last - first || 1;
    const X = (step) => LEFT + ((step - first) / span) * (WIDTH - LEFT - RIGHT);
    const Y = (at) => HEIGHT - BOTTOM - ((at - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);

    const ticks = log ? logTicks(low, high) : niceTicks(low, high, 5);
    for (const tick of ticks) {
      svg.append(element("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: Y(tick), y2: Y(tick) }));
      svg.append(element("text", { x: LEFT - 6, y: Y(tick) + 4, "text-anchor": "end" }, written(log ? 10 ** tick : Number(tick.toPrecision(12)))));
    }
    const stepTicks = niceTicks(first, first + span, 4).filter((t) => Number.isInteger(t));
    for (const tick of stepTicks) {
      const anchor = X(tick) > WIDTH - 24 ? "end" : "middle";
      svg.append(element("text", { x: anchor === "end" ? WIDTH : X(tick), y: HEIGHT - 4, "text-anchor": anchor }, tick.toLocaleString("en")));
    }
    const path = (values) => {
      let d = "", pen = "M";
      values.forEach((at, k) => {
        if (at === null) { pen = "M"; return; }
        d += `${pen}${X(chart.x[k]).toFixed(1)} ${Y(at).toFixed(1)}`;
        pen = "L";
      });
      return d;
    };
    const labels = [];
    references.sort((a, b) => b.at - a.at).forEach((reference, k) => {
      const y = Y(reference.at), left = k % 2 === 1;  // the second label stands at the other end
      svg.append(element("line", { class: "reference", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
      const below = y < TOP + 12 || (k > 0 && y < HEIGHT - BOTTOM - 14);
      const where = { class: "label", x: left ? LEFT + 4 : WIDTH - RIGHT, y: below ? y + 12 : y - 4, "text-anchor": left ? "start" : "end" };
      labels.push(element("text", where, reference.label));
    });
    if (weight > 0) svg.append(element("path", { class: "raw", d: path(raw) }));
    svg.append(element("path", { class: "smooth", d: path(smooth) }));
    if (chart.x.length <= 60)
      smooth.forEach((at, k) => at !== null && svg.append(element("circle", { class: "mark", cx: X(chart.x[k]), cy: Y(at), r: 2.6 })));

    svg.append(...labels);

    const cursor = element("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    const dot = element("circle", { class: "dot", r: 3.6, visibility: "hidden" });
    svg.append(cursor, dot);
    const rest = () => {
      for (const part of [cursor, dot]) part.setAttribute("visibility", "hidden");
      readout.textContent = written(chart.y[chart.y.length - 1]);
      figure.index = undefined;
    };
    const point = (k) => {
      figure.index = k;
      const x = X(chart.x[k]);
      cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.setAttribute("visibility", "visible");
      const at = smooth[k];
      dot.setAttribute("visibility", at === null ? "hidden" : "visible");
      if (at !== null) { dot.setAttribute("cx", x); dot.setAttribute("cy", Y(at)); }
      readout.textContent = `step ${chart.x[k].toLocaleString("en")}: ${written(chart.y[k])}`;
    };
    const nearest = (event) => {
      const box = svg.getBoundingClientRect();
      const step = first + (((event.clientX - box.left) * (WIDTH / box.width) - LEFT) / (WIDTH - LEFT - RIGHT)) * span;
      let low = 0, high = chart.x.length - 1;
      while (high - low > 1) { const middle = (low + high) >> 1; if (chart.x[middle] < step) low = middle; else high = middle; }
      return Math.abs(chart.x[low] - step) <= Math.abs(chart.x[high] - step) ? low : high;
    };
    plot.onpointermove = (event) => point(nearest(event));
    plot.onpointerleave = rest;
    plot.onblur = rest;
    plot.onkeydown = (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20, Home: -1e9, End: 1e9 }[event.key];
      if (!move) return;
      event.preventDefault();
      point(Math.max(0, Math.min(chart.x.length - 1, (figure.index ?? chart.x.length - 1) + move)));
    };
    rest();
  };

  const figures = [...document.querySelectorAll(".chart")];
  for (const figure of figures) { figure.chart = JSON.parse(figure.dataset.chart); draw(figure); }
  const redraw = () => figures.forEach(draw);
  if (logBox) { logBox.addEventListener("change", redraw); smoothBox.addEventListener("input", redraw); }

  for (const timeline of document.querySelectorAll("[data-timeline]")) {
    const frames = [...timeline.querySelectorAll("[data-frame]")], stage = timeline.querySelector("[data-stage]");
    const slider = timeline.querySelector("input"), play = timeline.querySelector("[data-play]");
    if (!slider) continue;
    const show = () => {
      frames.forEach((frame, k) => frame.toggleAttribute("aria-current", k === Number(slider.value)));
      const current = frames[slider.value];
      stage.replaceChildren(...[...current.querySelector(".frame").childNodes].map((node) => node.cloneNode(true)));
      timeline.querySelector("output").textContent = `step ${current.dataset.frame}`;
    };
    let timer = null;
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "▶ play"; play.setAttribute("aria-label", "play"); };
    slider.addEventListener("input", () => { stop(); show(); });
    frames.forEach((frame, k) => frame.addEventListener("click", () => { stop(); slider.value = k; show(); }));
    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      if (Number(slider.value) === frames.length - 1) slider.value = 0;
      show();
      play.textContent = "❙❙ pause"; play.setAttribute("aria-label", "pause");
      timer = setInterval(() => {
        if (Number(slider.value) === frames.length - 1) return stop();
        slider.value = Number(slider.value) + 1;
        show();
      }, 450);
    });
  }

  for (const button of document.querySelectorAll("[data-copy]"))
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
      } catch {  // no clipboard on some file:// pages: select it, so that one key press copies
        const range = document.createRange();
        range.selectNodeContents(code);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        button.textContent = "selected";
      }
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
})();
