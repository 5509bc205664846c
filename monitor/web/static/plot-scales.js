// The range and the labels of the axes of a plot.
"use strict";
(() => {
  const { formatClock, formatDay, formatMonth, formatYear, getColumns, isNumber } = Slopeward;
  const YEAR_S = 31e6;
  const MONTH_S = 24e5;
  const DAY_S = 86_400;

  class Range {
    constructor(isLogarithmic) {
      this.low = Infinity;
      this.high = -Infinity;
      this.isLogarithmic = isLogarithmic;
    }

    get isEmpty() {
      return this.low > this.high;
    }

    include(value) {
      if (!isNumber(value) || (this.isLogarithmic && value <= 0)) {
        return;
      }
      this.low = Math.min(this.low, value);
      this.high = Math.max(this.high, value);
    }
  }

  function includeValues(range, layers, from, to) {
    for (const layer of layers) {
      if (!(layer.line || layer.bars || layer.points) || layer.aside) {
        continue;
      }
      const [x, values] = getColumns(layer);
      for (let k = 0; k < x.length; k++) {
        if (x[k] >= from && x[k] <= to) {
          range.include(values[k]);
        }
      }
    }
  }

  // Bounds within two powers of ten of the values are shown.
  function fitLogarithmic(range, layers) {
    for (const { bound } of layers) {
      if (bound > 0 && bound < range.high * 100 && bound > range.low / 100) {
        range.include(bound);
      }
    }
    // Values far below every bound are noise, and would take most of the axis.
    const bounds = layers.map((layer) => layer.bound).filter((bound) => bound > 0);
    const lowest = bounds.length ? Math.min(...bounds, range.high) / 30 : range.high / 1e4;
    const low = Math.max(range.low, lowest);
    return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(range.high * 1.05))];
  }

  // Bands extend the range by at most 60 % of the values on each side.
  function includeBands(range, layers, from, to) {
    const margin = 0.6 * (range.high - range.low);
    const bottom = range.low - margin;
    const top = range.high + margin;
    for (const { band } of layers) {
      if (!band) {
        continue;
      }
      const [x, low, high] = band;
      x.forEach((at, k) => {
        if (at >= from && at <= to) {
          range.low = Math.min(range.low, Math.max(low[k], bottom));
          range.high = Math.max(range.high, Math.min(high[k], top));
        }
      });
    }
  }

  // Bounds are shown as long as the curve stays readable.
  function includeBounds(range, layers) {
    const reach = 2.5 * Math.max(range.high - range.low, Math.abs(range.high) * 0.05, 1e-9);
    const lowest = range.low - reach;
    const highest = range.high + reach;
    for (const { bound } of layers) {
      if (bound > lowest && bound < highest) {
        range.include(bound);
      }
    }
  }

  function addMargin(range, startsAtZero) {
    const { low, high } = range;
    const margin = high > low ? 0.06 * Math.max(high - low, Math.abs(high) * 1e-6, 1e-9) : Math.abs(high) * 0.1 || 1;
    return [startsAtZero && low === 0 ? 0 : low - margin, high + margin];
  }

  /** Return the range of the y axis for the values between two instants. */
  function fitRange(spec, from, to) {
    const { y, layers } = spec;
    if (y.range) {
      return y.range;
    }
    const range = new Range(Boolean(y.log));
    includeValues(range, layers, from, to);
    if (range.isEmpty) {
      for (const layer of layers) {
        range.include(layer.bound);
      }
    }
    if (range.isEmpty) {
      return y.log ? [0.1, 10] : [0, 1];
    }
    if (y.log) {
      return fitLogarithmic(range, layers);
    }
    if (y.zero) {
      range.include(0);
    }
    includeBands(range, layers, from, to);
    // A range below `least` would enlarge the noise of the instrument.
    if (range.high - range.low < (y.least ?? 0)) {
      const middle = (range.high + range.low) / 2;
      range.low = middle - y.least / 2;
      range.high = middle + y.least / 2;
    }
    includeBounds(range, layers);
    return addMargin(range, y.zero);
  }

  // Two lines: the clock or the day above, and the date or the year below where it changes.
  function formatTicks(_, instants, axis, space, step) {
    let before = "";
    return instants.map((instant) => {
      if (instant === null) {
        return null;
      }
      let text;
      let below = "";
      if (step >= YEAR_S) {
        text = formatYear(instant);
      } else if (step >= MONTH_S) {
        text = formatMonth(instant);
      } else if (step >= DAY_S) {
        text = formatDay(instant);
        below = formatYear(instant);
      } else {
        text = formatClock(instant);
        below = formatDay(instant);
      }
      const isFirst = below !== before;
      before = below;
      return isFirst && below ? `${text}\n${below}` : text;
    });
  }

  // The number of decimals that distinguishes neighbouring values of an axis.
  function countDecimals(step) {
    let count = 0;
    while (count < 9 && Math.abs(step * 10 ** count - Math.round(step * 10 ** count)) > 1e-6) {
      count++;
    }
    return count;
  }

  Object.assign(Slopeward, { countDecimals, fitRange, formatTicks });
})();
