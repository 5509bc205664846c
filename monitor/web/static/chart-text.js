// What is written below the chart of a site: sentences on forecast and range, and the newest values as a table.
"use strict";
(() => {
  const { formatInstant, formatMinute, formatNumber } = Slopeward;
  const { formatValue, nameComparison, nameFlags, symbolOf, translateName } = SlopewardChart;
  const MOST_ROWS = 20;

  function describeForecast({ forecast, withheld }) {
    const sentences = [];
    if (forecast) {
      const issuedAt = formatMinute(forecast.issued_at);
      sentences.push(tr("Forecast, issued {at}: {reason}.", { at: issuedAt, reason: forecast.reason }));
    }
    if (forecast && withheld?.model === "combined") {
      sentences.push(tr("Further ahead no forecast: {reason}.", { reason: withheld.reason }));
    } else if (!forecast && withheld) {
      sentences.push(tr("No forecast: {reason}.", { reason: withheld.reason }));
    }
    return sentences;
  }

  function describeAnswer(answer) {
    const sentences = describeForecast(answer);
    if (answer.computed) {
      sentences.push(tr("Computed from east, north and up along the station's azimuth and plunge."));
    }
    if (answer.thinned) {
      sentences.push(
        tr("A long range: between the points drawn there may be higher and lower ones. Zoom in to see them."),
      );
    }
    if (answer.left_out) {
      sentences.push(tr("{count} more stations are not drawn.", { count: answer.left_out }));
    }
    return sentences.join(" ");
  }

  /** Return the label of the chart for a screen reader. */
  function labelChart(answer) {
    if (answer.series) {
      return nameComparison(answer);
    }
    const summary = tr("{quantity} of {station}: {count} readings, newest {value}.", {
      quantity: translateName(answer.quantity),
      station: answer.station,
      count: answer.total,
      value: formatValue(answer.points.value.at(-1), symbolOf(answer.unit)),
    });
    return `${summary} ${describeAnswer(answer)}`;
  }

  // ---- table ------------------------------------------------------------------------------------
  function listComparisonRows({ series, unit }) {
    return series.map(({ station, at, value }) => [
      station,
      at.length ? formatInstant(at.at(-1)) : "–",
      formatNumber(value.at(-1), unit),
      "",
    ]);
  }

  function listReadingRows({ station, points, unit }) {
    const rows = points.at.map((at, k) => [
      station,
      formatInstant(at),
      formatNumber(points.value[k], unit),
      nameFlags(points.flags[k] ?? ""),
    ]);
    return rows.slice(-MOST_ROWS).reverse();
  }

  function makeRow(texts, tagName) {
    const row = document.createElement("tr");
    for (const text of texts) {
      const cell = document.createElement(tagName);
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }

  /** Return a table with the newest values, for readers who cannot see the plot. */
  function makeTable(answer) {
    const rows = answer.series ? listComparisonRows(answer) : listReadingRows(answer);
    const unit = symbolOf(answer.unit) ? `, ${answer.unit}` : "";
    const titles = [tr("Station"), tr("Time"), `${translateName(answer.quantity)}${unit}`, tr("flagged")];
    const table = document.createElement("table");
    const head = table.createTHead();
    const body = table.createTBody();
    head.append(makeRow(titles, "th"));
    body.append(...rows.map((texts) => makeRow(texts, "td")));
    return table;
  }

  Object.assign(SlopewardChart, { describeAnswer, labelChart, makeTable });
})();
