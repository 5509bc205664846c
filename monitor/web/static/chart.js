// The chart of a site: panes with one time axis and one cursor, above the level and the marks. One
// request answers all of it.
"use strict";
(() => {
  const chart = document.getElementById("chart");
  // A site without readings has no panes.
  if (!chart?.querySelector(".stack")) {
    return;
  }
  const { bindSpanButtons, drawPlot, fetchJson, findValuesAt, formatInstant, makeLegend, onColourChange } = Slopeward;
  const { bindGestures, decodeAnswer, describeAnswer, drawFoot, findRangeEnd } = SlopewardChart;
  const { labelChart, listPanes, makeTable, moveFootCursor, translateName } = SlopewardChart;
  const ALL_STATIONS = "*";
  const SHORTEST_RANGE_S = 60;
  const LONGEST_RANGE_S = 36_525 * 86_400;
  const LAST_INSTANT_S = 4e9;
  const DEFAULT_EVENT_RANGE_S = 7 * 86_400;
  const MOST_NAMED_CURVES = 24;
  const MOST_READ_CURVES = 4;
  const REQUEST_DELAY_MS = 300;
  // Curves change more slowly than levels, so every sixth refresh is enough.
  // Without a stream of changes the chart does not know whether it is outdated.
  const REQUEST_INTERVAL_MS = 60_000;
  const IDLE_MS = 30_000;
  const UNITS_S = { s: 1, m: 60, min: 60, h: 3600, d: 86_400, w: 604_800 };

  const site = document.getElementById("main").dataset.site;
  const levelInForce = Number(chart.dataset.level);
  const stationSelect = chart.querySelector("[name=station]");
  const quantitySelect = chart.querySelector("[name=quantity]");
  const stack = chart.querySelector(".stack");
  const otherPanes = chart.querySelector(".panes");
  const otherFold = otherPanes.closest("details");
  const foot = chart.querySelector(".foot");
  const sentences = chart.querySelector(".says");
  const address = new URLSearchParams(location.search);

  let span = chart.querySelector("[data-span][aria-pressed=true]").dataset.span;
  let answer = null;
  let answerText = "";
  let wholeRange = null;
  let zoomedRange = null;
  let panes = [];
  let cursorAt = null;
  let lastReadAt = -Infinity;
  let requestNumber = 0;
  let requestInProgress = null;
  let delayedRequest = 0;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const getRange = () => zoomedRange ?? wholeRange;

  // ---- what the address and the reader choose ---------------------------------------------------
  function parseSpan(text) {
    const match = /^(\d+(?:\.\d+)?)(s|min|m|h|d|w)$/.exec(text ?? "");
    return match ? clamp(match[1] * UNITS_S[match[2]], SHORTEST_RANGE_S, LONGEST_RANGE_S) : null;
  }

  const formatIso = (seconds) => new Date(clamp(seconds, 0, LAST_INSTANT_S) * 1000).toISOString();

  const eventAt = Date.parse(address.get("at") ?? "") / 1000;
  const hasEvent = eventAt > 0 && eventAt < LAST_INSTANT_S;

  function fillQuantities(wanted) {
    const { quantities, first } = stationSelect.selectedOptions[0].dataset;
    const names = quantities.split(" ").filter(Boolean);
    const chosen = names.includes(wanted) ? wanted : first || names[0];
    const options = names.map((name) => new Option(translateName(name), name, false, name === chosen));
    quantitySelect.replaceChildren(...options);
  }

  function makeRequestUrl() {
    const station = stationSelect.value;
    const path = station === ALL_STATIONS ? "compare" : `panes/${encodeURIComponent(station)}`;
    const range = zoomedRange ? `from=${formatIso(zoomedRange[0])}&to=${formatIso(zoomedRange[1])}` : `span=${span}`;
    return `/api/v1/sites/${site}/${path}/${encodeURIComponent(quantitySelect.value)}?${range}`;
  }

  // ---- drawing ----------------------------------------------------------------------------------
  function findPaneNode(id) {
    const existing = [...chart.querySelectorAll(".pane")].find((node) => node.dataset.pane === id);
    if (existing) {
      return existing;
    }
    const node = document.createElement("div");
    node.className = "pane small";
    node.dataset.pane = id;
    node.innerHTML =
      '<p class="head"><b></b> <span class="read"></span></p><div class="plot" aria-hidden="true"></div>';
    otherPanes.append(node);
    return node;
  }

  function removeOldPanes() {
    const ids = new Set(panes.map((pane) => pane.id));
    for (const node of otherPanes.querySelectorAll(".pane")) {
      if (!ids.has(node.dataset.pane)) {
        node.querySelector(".plot").plot?.destroy();
        node.remove();
      }
    }
    chart.querySelector('[data-pane="beside"]').hidden = !ids.has("beside");
  }

  function makeSpec({ unit, log, zero, least, layers }) {
    const [from, to] = wholeRange;
    return { x: { from, to }, y: { unit, log, zero, least }, layers, at: hasEvent ? eventAt : undefined };
  }

  function placePane(pane) {
    pane.node = findPaneNode(pane.id);
    if (pane.node.parentElement === otherPanes) {
      otherPanes.append(pane.node);
    }
  }

  function drawPane(pane) {
    const [from, to] = getRange();
    pane.spec = makeSpec(pane);
    pane.node.querySelector("b").textContent = pane.unit ? `${pane.title}, ${pane.unit}` : pane.title;
    const latest = pane.node.querySelector(".latest");
    if (latest) {
      latest.textContent = pane.latest;
    }
    const isBelow = pane.node.parentElement === otherPanes;
    pane.plot = drawPlot(pane.node.querySelector(".plot"), pane.spec, {
      // Below each other, one axis of time is enough.
      hideX: isBelow && pane !== panes.at(-1),
      onCursor: (at) => moveCursor(at, pane),
      onZoom: (start, end, isAll) => (isAll ? showAll() : zoomTo(start, end)),
    });
    pane.plot.setScale("x", { min: from, max: to });
  }

  function drawLegend() {
    const isCrowded = answer.series && answer.series.length > MOST_NAMED_CURVES;
    const named = panes.filter((pane) => pane.id === "lead" || pane.id === "beside");
    const layers = isCrowded ? [] : named.flatMap((pane) => pane.layers);
    chart.querySelector(".key").replaceWith(makeLegend(layers));
  }

  function draw() {
    if (!answer) {
      return;
    }
    panes = listPanes(answer, levelInForce);
    removeOldPanes();
    otherFold.hidden = panes.every((pane) => pane.id === "lead" || pane.id === "beside");
    // The height of a pane depends on whether it is the last one, so all are placed before the first is drawn.
    panes.forEach(placePane);
    panes.forEach(drawPane);
    drawFoot(foot, answer, getRange());
    drawLegend();
    moveCursor(null);
  }

  function describe() {
    // A space keeps the height of the line.
    sentences.textContent = describeAnswer(answer) || "\u00a0";
    stack.setAttribute("aria-label", labelChart(answer));
    chart.querySelector(".figures").replaceChildren(makeTable(answer));
  }

  // ---- one cursor through all panes -------------------------------------------------------------
  function readPane(pane, at, source) {
    if (at === null) {
      return [];
    }
    const [from, to] = getRange();
    const values = findValuesAt(pane.spec, at, 0.03 * (to - from));
    const isCrowded = answer.series && pane.id === "lead" && values.length > MOST_READ_CURVES;
    if (!isCrowded || !source?.plot) {
      return values;
    }
    // Of many curves, those next to the pointer are read.
    const y = source.plot.posToVal(source.plot.cursor.top, "y");
    values.sort((a, b) => Math.abs(a.value - y) - Math.abs(b.value - y));
    return values.slice(0, MOST_READ_CURVES);
  }

  function showValues(pane, values) {
    const curves = pane.layers.filter((layer) => !layer.mute && layer.bound === undefined && !layer.band);
    const items = values.map(({ layer, text }) => {
      const item = document.createElement("span");
      item.textContent = curves.length > 1 ? `${layer.name}: ${text}` : text;
      return item;
    });
    pane.node.querySelector(".read").replaceChildren(...items);
  }

  function moveCursor(at, source = null) {
    cursorAt = at;
    if (at !== null) {
      lastReadAt = performance.now();
    }
    chart.querySelector(".when").textContent = at === null ? "" : formatInstant(at);
    for (const pane of panes) {
      if (pane !== source) {
        const left = at === null ? -10 : pane.plot.valToPos(at, "x");
        pane.plot.setCursor({ left, top: left < 0 ? -10 : 4 }, false, false);
      }
      showValues(pane, readPane(pane, at, source));
    }
    moveFootCursor(foot, at, getRange());
  }

  function readAloud() {
    const values = panes.map((pane) => `${pane.title}: ${pane.node.querySelector(".read").textContent}`);
    const at = chart.querySelector(".when").textContent;
    chart.querySelector(".spoken").textContent = [at, ...values].join("; ");
  }

  function step(count) {
    const instants = answer.points?.at ?? answer.series?.[0]?.at ?? [];
    const [from, to] = getRange();
    const shown = instants.filter((at) => at >= from && at <= to);
    if (!shown.length) {
      return;
    }
    let position;
    if (cursorAt === null) {
      position = count > 0 ? -1 : shown.length;
    } else {
      position = shown.findLastIndex((at) => at <= cursorAt + 1e-6);
    }
    moveCursor(shown[clamp(position + count, 0, shown.length - 1)]);
    readAloud();
  }

  // ---- zoom -------------------------------------------------------------------------------------
  function zoomTo(from, to) {
    const middle = clamp((from + to) / 2, 0, LAST_INSTANT_S);
    const width = clamp(to - from, SHORTEST_RANGE_S, LONGEST_RANGE_S);
    zoomedRange = [middle - width / 2, middle + width / 2];
    showChosenSpan(null);
    for (const pane of panes) {
      pane.plot.setScale("x", { min: zoomedRange[0], max: zoomedRange[1] });
    }
    drawFoot(foot, answer, zoomedRange);
    moveCursor(null);
    // The shorter range has finer points.
    clearTimeout(delayedRequest);
    delayedRequest = setTimeout(loadAnswer, REQUEST_DELAY_MS);
  }

  function zoomBy(factor, at) {
    const [from, to] = getRange();
    const fixed = at ?? (from + to) / 2;
    zoomTo(fixed - (fixed - from) * factor, fixed + (to - fixed) * factor);
  }

  function shiftBy(share) {
    const [from, to] = getRange();
    const distance = share * (to - from);
    zoomTo(from + distance, to + distance);
  }

  function showAll() {
    zoomedRange = null;
    showChosenSpan(span);
    loadAnswer();
  }

  function timeAt(clientX) {
    const { plot } = panes[0];
    return plot.posToVal(clientX - plot.over.getBoundingClientRect().left, "x");
  }

  // ---- requests ---------------------------------------------------------------------------------
  /**
   * Request the readings and draw them.
   *
   * `onlyIfChanged`: do not draw an answer that equals the present one. Drawing replaces the plots, which would
   * interrupt a reader who is about to use them.
   */
  async function loadAnswer({ onlyIfChanged = false } = {}) {
    requestNumber += 1;
    const number = requestNumber;
    requestInProgress?.abort();
    requestInProgress = new AbortController();
    let loaded;
    try {
      loaded = await fetchJson(makeRequestUrl(), requestInProgress.signal);
    } catch (error) {
      if (number === requestNumber) {
        sentences.textContent = tr("The curve could not be loaded: {reason}", { reason: error.message });
      }
      return;
    }
    // The reader may have chosen something else meanwhile.
    if (number !== requestNumber) {
      return;
    }
    const loadedText = JSON.stringify(loaded);
    if (onlyIfChanged && loadedText === answerText) {
      return;
    }
    answerText = loadedText;
    answer = decodeAnswer(loaded);
    if (!zoomedRange) {
      wholeRange = [answer.from, findRangeEnd(answer)];
    }
    draw();
    describe();
    chart.dataset.drawn = String(number);
  }

  function applyAddress() {
    const station = address.get("station");
    if ([...stationSelect.options].some((option) => option.value === station)) {
      stationSelect.value = station;
    }
    fillQuantities(address.get("quantity"));
    const addressSpan = address.get("span");
    const buttons = [...chart.querySelectorAll("[data-span]")];
    if (hasEvent) {
      const width = parseSpan(addressSpan) ?? DEFAULT_EVENT_RANGE_S;
      wholeRange = [eventAt - 0.75 * width, eventAt + 0.25 * width];
      zoomedRange = wholeRange;
      showChosenSpan(null);
    } else if (buttons.some((button) => button.dataset.span === addressSpan)) {
      span = addressSpan;
      showChosenSpan(span);
    }
  }

  const showChosenSpan = bindSpanButtons((chosen) => {
    span = chosen;
    zoomedRange = null;
    loadAnswer();
  });
  applyAddress();
  stationSelect.addEventListener("change", () => {
    fillQuantities(quantitySelect.value);
    loadAnswer();
  });
  quantitySelect.addEventListener("change", loadAnswer);
  otherFold.addEventListener("toggle", draw);
  new ResizeObserver(() => {
    if (answer) {
      drawFoot(foot, answer, getRange());
    }
  }).observe(foot);
  onColourChange(draw);
  bindGestures(stack, {
    isReady: () => answer !== null,
    range: getRange,
    moveCursor,
    shiftBy,
    showAll,
    step,
    timeAt,
    zoomBy,
    zoomTo,
  });

  let requestedAt = performance.now();
  let isOutdated = false;
  document.addEventListener("refreshed", (event) => {
    // A change that arrives while somebody reads the chart is drawn afterwards.
    isOutdated ||= event.detail.hasChanged || performance.now() - requestedAt > REQUEST_INTERVAL_MS;
    const isIdle = !zoomedRange && performance.now() - lastReadAt > IDLE_MS;
    if (isOutdated && isIdle) {
      isOutdated = false;
      requestedAt = performance.now();
      loadAnswer({ onlyIfChanged: true });
    }
  });
  loadAnswer();
})();
