// Keys, wheel and fingers on the chart: read values, zoom and move along the time.
"use strict";
(() => {
  const LEAST_PINCH_PX = 20;
  const MOST_WHEEL_STEP = 200;

  /**
   * Connect the gestures of an element with a chart.
   *
   * The chart has `isReady()`, `range()`, `timeAt(clientX)`, `moveCursor(at)`, `step(count)`,
   * `zoomBy(factor, at)`, `zoomTo(from, to)`, `shiftBy(share)` and `showAll()`.
   */
  function bindGestures(element, chart) {
    bindKeys(element, chart);
    bindWheel(element, chart);
    bindFingers(element, chart);
  }

  function bindKeys(element, chart) {
    const actions = {
      ArrowLeft: (hasShift) => (hasShift ? chart.shiftBy(-0.25) : chart.step(-1)),
      ArrowRight: (hasShift) => (hasShift ? chart.shiftBy(0.25) : chart.step(1)),
      "+": () => chart.zoomBy(0.5),
      "=": () => chart.zoomBy(0.5),
      "-": () => chart.zoomBy(2),
      0: () => chart.showAll(),
      Home: () => chart.showAll(),
      Escape: () => chart.moveCursor(null),
    };
    element.addEventListener("keydown", (event) => {
      const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
      const action = actions[event.key];
      if (hasModifier || event.target !== element || !action || !chart.isReady()) {
        return;
      }
      event.preventDefault();
      action(event.shiftKey);
    });
  }

  // The wheel scrolls the page. It zooms with Ctrl, with a pinch, or after a click into the chart.
  function bindWheel(element, chart) {
    element.addEventListener(
      "wheel",
      (event) => {
        const mayZoom = event.ctrlKey || document.activeElement === element;
        if (!mayZoom || !chart.isReady()) {
          return;
        }
        event.preventDefault();
        const step = Math.min(Math.max(event.deltaY, -MOST_WHEEL_STEP), MOST_WHEEL_STEP);
        chart.zoomBy(Math.exp(step / 300), chart.timeAt(event.clientX));
      },
      { passive: false },
    );
  }

  // One finger reads values, two zoom. Moving up and down scrolls the page.
  function bindFingers(element, chart) {
    const positions = new Map();
    let pinch = null;
    const measureFingers = () => {
      const [first, second] = [...positions.values()];
      return { distance: Math.max(Math.abs(first - second), LEAST_PINCH_PX), middle: (first + second) / 2 };
    };
    element.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "touch" || !chart.isReady()) {
        return;
      }
      positions.set(event.pointerId, event.clientX);
      if (positions.size === 2) {
        const { distance, middle } = measureFingers();
        pinch = { distance, at: chart.timeAt(middle), range: chart.range() };
      }
    });
    element.addEventListener("pointermove", (event) => {
      if (!positions.has(event.pointerId) || !chart.isReady()) {
        return;
      }
      positions.set(event.pointerId, event.clientX);
      if (!pinch || positions.size !== 2) {
        chart.moveCursor(chart.timeAt(event.clientX));
        return;
      }
      const factor = pinch.distance / measureFingers().distance;
      const [from, to] = pinch.range;
      chart.zoomTo(pinch.at - (pinch.at - from) * factor, pinch.at + (to - pinch.at) * factor);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      addEventListener(name, (event) => {
        positions.delete(event.pointerId);
        if (positions.size < 2) {
          pinch = null;
        }
      });
    }
  }

  Object.assign(SlopewardChart, { bindGestures });
})();
