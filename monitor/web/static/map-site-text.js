// Texts of the map of a site: its legend, and the description of a mark that was chosen.
"use strict";
(() => {
  const M = window.SlopewardMap;
  const P = window.SlopewardPoints;
  const { CHANGES } = SlopewardSiteMap;
  const zone = document.getElementById("main").dataset.zone || "UTC";
  const formatTime = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "short" });

  const formatInstant = (instant) => formatTime.format(new Date(instant)) + (zone === "UTC" ? " UTC" : "");

  const formatNumber = (value) =>
    value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString();

  function makeElement(tag, attributes = {}, ...children) {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  }

  const CHANGE_NAMES = {
    new: tr("new"),
    grown: tr("grown"),
    known: tr("known"),
    single: tr("of one date: advice"),
    vanished: tr("vanished"),
    withdrawn: tr("withdrawn"),
  };

  // ---- legend -----------------------------------------------------------------------------------
  const makeItem = (className, ...children) => makeElement("li", {}, makeElement("i", { className }), ...children);

  function listStationItems(stations) {
    const requested = new Map();
    for (const { properties } of stations) {
      if (properties.asks > 0) {
        requested.set(properties.asks, properties);
      }
    }
    const levels = [...requested.keys()].sort((a, b) => b - a);
    const items = levels.map((level) => {
      const { asks_name: name, top_level: top } = requested.get(level);
      const text = tr("requests {level}", { level: tr(name) });
      return makeItem(`kshape lv-${M.classOfLevel(name, level, top)}`, text);
    });
    items.push(makeItem("k ok", tr("station")), makeItem("k bad", tr("faulty or silent")));
    if (stations.some(({ properties }) => !properties.on_slope)) {
      items.push(makeItem("k control", tr("control")));
    }
    if (stations.some(({ properties }) => properties.arrow)) {
      const arrow = makeElement("i", { className: "karrow", textContent: "↗" });
      const text = tr("movement; the length grows with the logarithm of the velocity");
      items.push(makeElement("li", {}, arrow, text));
    }
    return items;
  }

  function listFootprintItems(footprints) {
    const shown = new Set(footprints.map(({ properties }) => properties.change));
    return CHANGES.filter((change) => shown.has(change)).map((change) =>
      makeItem(`kfoot ${change}`, tr("footprint, {change}", { change: CHANGE_NAMES[change] })),
    );
  }

  function listSusceptibilityItems(susceptibility) {
    const ramp = makeElement("span", { className: "kramp" });
    for (const { colour } of susceptibility.classes) {
      const part = makeElement("i");
      part.style.background = colour;
      ramp.append(part);
    }
    const madeOn = susceptibility.made_on;
    const day = madeOn ? `, ${tr("map of {day}", { day: madeOn })}` : "";
    const title = `${tr("susceptibility (where, not when):")} ${tr("very low")} `;
    const items = [makeElement("li", {}, title, ramp, ` ${tr("very high")}${day}`)];
    if (madeOn) {
      items.push(makeElement("li", {}, tr("hatched: unlike the ground of the training")));
    }
    return items;
  }

  function makeZoneItem() {
    const mark = makeElement("i", { className: "k" });
    mark.style.border = `2px dashed ${M.readColour("--advice")}`;
    mark.style.borderRadius = "2px";
    return makeElement("li", {}, mark, tr("moving zone of a map of velocities: advice"));
  }

  /** Return the items of the legend for what the map shows. */
  function listLegendItems(content, hidden, grounds) {
    const items = [...listStationItems(content.stations.features), ...listFootprintItems(content.footprints.features)];
    if (content.susceptibility && !hidden.has("susceptibility")) {
      items.push(...listSusceptibilityItems(content.susceptibility));
    }
    const hasMovingZone = content.zones.features.some(({ properties }) => properties.kind === "velocity");
    if (hasMovingZone && !hidden.has("zones")) {
      items.push(makeZoneItem());
    }
    if (!hidden.has("points")) {
      items.push(...P.explain(content.pointAnswer));
    }
    if (content.unplaced.length) {
      items.push(makeElement("li", {}, tr("without a place: {names}", { names: content.unplaced.join(", ") })));
    }
    for (const ground of grounds.filter(({ by }) => by)) {
      items.push(makeElement("li", {}, `${ground.name}: ${ground.by}`));
    }
    return items;
  }

  // ---- descriptions: a title and rows of term and text --------------------------------------------
  function describeStation(station) {
    const { velocity_mm_per_day: velocity, velocity_error_mm_per_day: error, heading_deg: heading } = station;
    const source = station.heading_from === "readings" ? tr("from east and north") : tr("azimuth of the site file");
    return [
      [
        tr("Level"),
        station.asks > 0 ? tr("requests {level}", { level: tr(station.asks_name) }) : tr("requests no level"),
      ],
      [tr("State"), [tr(station.state ?? "unknown"), station.reason].filter(Boolean).join(": ")],
      [tr("Velocity"), velocity === null ? "" : `${formatNumber(velocity)} ± ${formatNumber(error)} mm/day`],
      [tr("Direction"), heading === null ? "" : `${Math.round(heading)}° (${source})`],
    ];
  }

  function describeReadings(readings) {
    return readings.map(({ quantity, value, unit, observed_at: at }) => [
      tr(quantity.replaceAll("_", " ")),
      `${formatNumber(value)} ${unit}, ${formatInstant(at)}`,
    ]);
  }

  function describeFootprint(footprint) {
    const { susceptibility, nearest_station: station, distance_m: distance } = footprint;
    const rows = [
      [tr("Change"), CHANGE_NAMES[footprint.change]],
      [tr("Area"), `${Math.round(footprint.area_m2)} m²`],
      [tr("Probability"), formatNumber(footprint.method === "network" ? footprint.mean_probability : null)],
      [
        tr("Susceptibility"),
        susceptibility === undefined || susceptibility === null ? "" : formatNumber(susceptibility),
      ],
      [tr("Nearest station"), station ? `${station}, ${Math.round(distance)} m` : ""],
    ];
    return [tr("Footprint {name}", { name: footprint.polygon_id }), rows];
  }

  function describeZone(area) {
    const { kind, name } = area;
    if (kind === "velocity") {
      const rows = [
        [tr("Mean"), `${formatNumber(area.mean_mm_per_year)} ${tr("mm/year")}`],
        [tr("Slower than (95 %)"), `${formatNumber(area.p95_mm_per_year)} ${tr("mm/year")}`],
        [tr("Error"), `${formatNumber(area.sigma_mm_per_year)} ${tr("mm/year")}`],
        [tr("Area"), `${Math.round(area.area_m2)} m²`],
        [tr("Until"), formatInstant(area.until)],
      ];
      return [tr("Moving zone of {name}", { name }), rows];
    }
    if (kind === "exposed") {
      return [tr("In danger: {name}", { name }), []];
    }
    if (kind === "area") {
      return [tr("Area {name}", { name }), []];
    }
    return [tr("Radar zone of {name}: {radius} m", { name, radius: Math.round(area.radius_m) }), []];
  }

  Object.assign(SlopewardSiteMap, {
    describeFootprint,
    describeReadings,
    describeStation,
    describeZone,
    listLegendItems,
    makeElement,
  });
})();
