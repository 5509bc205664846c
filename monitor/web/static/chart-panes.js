// The panes of the chart of a site: from an answer of the server to titles, layers and scales.
"use strict";
window.SlopewardChart = (() => {
  const { colourOfLevel, decodeInstants, formatNumber, formatSpan, nameOfLevel, readColour, toSeconds } = Slopeward;
  const CURVE_COLOURS = ["--curve", "--c1", "--c2", "--c3", "--c4", "--c5"];
  const DASHES = ["solid", "dash", "dot", "long"];
  const MOST_POINTS_WITH_DOTS = 400;

  const translateName = (name) => tr(name.replaceAll("_", " "));
  const symbolOf = (unit) => (unit === "1" ? "" : unit);
  const formatDays = (seconds) => `${Number((seconds / 86_400).toPrecision(3))} d`;

  function formatValue(value, unit) {
    return `${formatNumber(value, unit)} ${unit}`.trim();
  }

  function nameFlags(flags) {
    return flags
      .split(",")
      .filter(Boolean)
      .map((flag) => tr(flag))
      .join(", ");
  }

  /** Decode the columns of instants of an answer in place, and join the columns of the level into rows. */
  function decodeAnswer(answer) {
    const columns = [
      answer.points,
      answer.scores,
      answer.past,
      ...(answer.series ?? []),
      ...(answer.more ?? []),
      ...(answer.velocity?.rates ?? []),
    ];
    for (const column of columns) {
      if (column) {
        column.at = decodeInstants(column.at);
      }
    }
    const { level, seen } = answer.ribbon;
    const starts = decodeInstants(answer.ribbon.from);
    const ends = [...starts.slice(1), answer.ribbon.to];
    answer.ribbon = starts
      .map((from, k) => ({ from, to: ends[k], level: level[k], seen: seen[k] }))
      // Without a level, the service did not run.
      .filter((row) => row.level !== null);
    return answer;
  }

  // ---- layers of a quantity ---------------------------------------------------------------------
  function listForecastLayers(answer, unit) {
    const { forecast } = answer;
    if (!forecast) {
      return [];
    }
    const { targets } = forecast;
    const colour = readColour("--forecast");
    const x = [forecast.data_until, ...targets.at];
    const columnFrom = (quantile) => [forecast.data_value, ...targets[quantile]];
    const describe = (k) => {
      if (k === 0) {
        return formatValue(forecast.data_value, unit);
      }
      const range = tr("{from} to {to}", {
        from: formatNumber(targets.q10[k - 1], unit),
        to: formatNumber(targets.q90[k - 1], unit),
      });
      return `${formatValue(targets.q50[k - 1], unit)}, 80 % ${range}`;
    };
    return [
      { band: [x, columnFrom("q025"), columnFrom("q975")], colour, alpha: 0.16, name: "95 %" },
      {
        band: [x, columnFrom("q10"), columnFrom("q90")],
        colour,
        alpha: 0.26,
        name: forecast.is_unusual ? tr("80 %, outside experience") : "80 %",
        hatched: forecast.is_unusual ? colour : undefined,
      },
      { line: [x, columnFrom("q50")], colour, dash: "dash", dots: 2.5, width: 2, name: tr("forecast"), text: describe },
    ];
  }

  // While a level is in force, only its own bound is shown: it tells how far beyond it the slope moves.
  function listBoundLayers(answer, unit, levelInForce) {
    const ofLevel = answer.thresholds.filter((bound) => bound.level === levelInForce);
    const bounds = ofLevel.length ? ofLevel : answer.thresholds;
    return bounds.map((bound) => {
      const perDay = unit ? "/day" : ` ${tr("per day")}`;
      const value = `${formatNumber(bound.value, unit)}${unit ? ` ${unit}` : ""}${bound.ray ? perDay : ""}`;
      const name = `${tr(bound.name)} ${tr(bound.side)} ${value}`;
      const style = { colour: colourOfLevel(answer.levels, bound.level), name, label: name, width: 2, alpha: 0.9 };
      if (!bound.ray) {
        return { bound: bound.line, ...style };
      }
      const ray = [bound.ray.at.map(toSeconds), bound.ray.value];
      return { line: ray, dash: "long", mute: true, aside: true, ...style };
    });
  }

  function listPastForecastLayers(answer, unit) {
    const { past } = answer;
    if (!past || past.at.length < 2) {
      return [];
    }
    return [
      {
        line: [past.at, past.q50],
        colour: readColour("--forecast"),
        dash: "dot",
        width: 1.2,
        aside: true,
        unit,
        name: tr("as forecast {span} before", { span: formatDays(past.horizon_s) }),
      },
    ];
  }

  function findShortestStep(at) {
    if (at.length < 2) {
      return 3600;
    }
    return Math.min(...at.slice(1).map((instant, k) => instant - at[k]));
  }

  function listReadingLayers(answer, unit) {
    const { at, value, flags } = answer.points;
    if (answer.quantity === "rain") {
      const step = answer.step_s ?? findShortestStep(at);
      return [{ bars: [at, value, step], colour: readColour("--rain"), unit, name: tr("rain") }];
    }
    const unflagged = value.map((reading, k) => (flags[k] ? null : reading));
    const observed = {
      line: [at, unflagged],
      colour: readColour("--curve"),
      dots: at.length < MOST_POINTS_WITH_DOTS ? 2 : 0,
      unit,
      name: tr("observed"),
    };
    const flagged = Object.keys(flags).map(Number);
    if (!flagged.length) {
      return [observed];
    }
    return [
      observed,
      {
        points: [flagged.map((k) => at[k]), flagged.map((k) => value[k])],
        shape: "cross",
        width: 2,
        colour: readColour("--flag"),
        aside: true,
        name: tr("flagged"),
        text: (n) => `${nameFlags(flags[flagged[n]])}: ${formatValue(value[flagged[n]], unit)}`,
      },
    ];
  }

  // ---- panes ------------------------------------------------------------------------------------
  function makeQuantityPane(answer, levelInForce) {
    const unit = symbolOf(answer.unit);
    const newest = answer.points.value.at(-1);
    const step = answer.step_s ? ` ${tr("in {span}", { span: formatSpan(answer.step_s) })}` : "";
    return {
      title: `${translateName(answer.quantity)} ${answer.station}${step}`,
      latest: newest === undefined ? tr("no reading in this range") : formatValue(newest, unit),
      unit,
      zero: answer.quantity === "rain",
      // A range below six times the noise would look like motion.
      least: 6 * (answer.noise_floor ?? 0),
      layers: [
        ...listForecastLayers(answer, unit),
        ...listBoundLayers(answer, unit, levelInForce),
        ...listPastForecastLayers(answer, unit),
        ...listReadingLayers(answer, unit),
      ],
    };
  }

  function makeVelocityPane(answer, levelInForce) {
    const unit = "mm/day";
    const { bounds, rates } = answer.velocity;
    const boundLayers = bounds
      .toSorted((a, b) => b.level - a.level)
      .map((bound) => {
        const span = bound.window_s ? ` ${tr("in {span}", { span: formatSpan(bound.window_s) })}` : "";
        return {
          bound: bound.value,
          colour: colourOfLevel(answer.levels, bound.level),
          dash: "dash",
          width: bound.level === levelInForce ? 2.6 : 1.6,
          label: `${tr(bound.name)} ${formatNumber(bound.value)}`,
          name: `${tr(bound.name)} ${tr("over")} ${formatNumber(bound.value)} ${unit}${span}`,
        };
      });
    const rateLayers = rates.map((rate, k) => {
      const bound = bounds.find((one) => one.window_s === rate.window_s);
      return {
        line: [rate.at, rate.rate.map(Math.abs)],
        colour: bound ? colourOfLevel(answer.levels, bound.level) : readColour("--curve"),
        dash: DASHES[k % DASHES.length],
        width: bound && bound.level === levelInForce ? 2.4 : 1.6,
        unit,
        name: rate.window_s
          ? tr("velocity in {span}", { span: formatSpan(rate.window_s) })
          : tr("velocity of the stage"),
      };
    });
    return {
      title: `${tr("Velocity")} ${answer.station}`,
      latest: describeNewestRate(answer.velocity, levelInForce, unit),
      unit,
      log: true,
      layers: [...boundLayers, ...rateLayers],
    };
  }

  function describeNewestRate({ bounds, rates }, levelInForce, unit) {
    const bound = bounds.find((one) => one.level === levelInForce);
    const rate = rates.find((one) => one.window_s === bound?.window_s) ?? rates[0];
    const newest = rate?.rate.at(-1);
    if (newest === undefined) {
      return "";
    }
    const value = formatValue(Math.abs(newest), unit);
    return rate.window_s ? tr("{value} in {span}", { value, span: formatSpan(rate.window_s) }) : value;
  }

  function makeOtherPane(series, k) {
    const unit = symbolOf(series.unit);
    const isRain = series.quantity === "rain";
    const step = isRain ? ` ${tr("in {span}", { span: formatSpan(series.step_s) })}` : "";
    const title = `${translateName(series.quantity)} ${series.station}${step}`;
    const layer = isRain
      ? { bars: [series.at, series.value, series.step_s], colour: readColour("--rain") }
      : { line: [series.at, series.value], colour: readColour(CURVE_COLOURS[(k + 1) % CURVE_COLOURS.length]) };
    const id = `${series.station}.${series.quantity}`;
    return { id, title, unit, zero: isRain, layers: [{ ...layer, unit, name: title }] };
  }

  function makeScorePane({ scores }) {
    const rowsOfDetector = new Map();
    scores.detector.forEach((name, row) => {
      rowsOfDetector.set(name, [...(rowsOfDetector.get(name) ?? []), row]);
    });
    const threshold = { bound: 1, colour: readColour("--flag"), dash: "dash", width: 1.2 };
    const curves = [...rowsOfDetector].map(([name, rows], k) => ({
      line: [rows.map((row) => scores.at[row]), rows.map((row) => scores.ratio[row])],
      colour: readColour("--advice"),
      width: 1.2,
      dash: DASHES[k % DASHES.length],
      dots: 1.5,
      name,
      text: (n) => tr("{value} of its threshold", { value: formatNumber(scores.ratio[rows[n]]) }),
    }));
    return { id: "score", title: tr("score"), unit: "", zero: true, layers: [threshold, ...curves] };
  }

  function nameComparison(answer) {
    const values = { quantity: translateName(answer.quantity), count: answer.series.length };
    return answer.from_zero
      ? tr("{quantity} since the left edge, {count} stations", values)
      : tr("{quantity}, {count} stations", values);
  }

  function makeComparisonPane(answer) {
    const unit = symbolOf(answer.unit);
    const layers = answer.series.map((series, k) => ({
      line: [series.at, series.value],
      colour: readColour(CURVE_COLOURS[k % CURVE_COLOURS.length]),
      dash: DASHES[(k + Math.floor(k / 12)) % DASHES.length],
      width: 1.5,
      unit,
      name: series.station,
      label: series.station,
    }));
    return { title: nameComparison(answer), latest: "", unit, layers };
  }

  /**
   * Return the panes of an answer. The first one shows what the level rests on, the second one what
   * belongs beside it: the displacement of a velocity, or the velocity of a displacement.
   */
  function listPanes(answer, levelInForce) {
    const panes = [];
    if (answer.series) {
      panes.push({ ...makeComparisonPane(answer), id: "lead" });
    } else {
      const quantity = makeQuantityPane(answer, levelInForce);
      const velocity = answer.velocity?.rates.length ? makeVelocityPane(answer, levelInForce) : null;
      if (!velocity) {
        panes.push({ ...quantity, id: "lead" });
      } else if (answer.leads === "velocity") {
        panes.push({ ...velocity, id: "lead" }, { ...quantity, id: "beside" });
      } else {
        panes.push({ ...quantity, id: "lead" }, { ...velocity, id: "beside" });
      }
    }
    panes.push(...(answer.more ?? []).map(makeOtherPane));
    if (answer.scores?.at.length) {
      panes.push(makeScorePane(answer));
    }
    return panes;
  }

  /** Return the end of the time axis: at most half of the range of readings is left for the forecast. */
  function findRangeEnd(answer) {
    return answer.series ? answer.to : Math.min(answer.until, answer.to + 0.5 * (answer.to - answer.from));
  }

  return {
    decodeAnswer,
    findRangeEnd,
    formatValue,
    listPanes,
    nameComparison,
    nameFlags,
    nameOfLevel,
    symbolOf,
    translateName,
  };
})();
