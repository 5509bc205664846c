// Sources and layers of the map of a site: scene, footprints, radar points, zones, stations and arrows.
"use strict";
window.SlopewardSiteMap = (() => {
  const M = window.SlopewardMap;
  const P = window.SlopewardPoints;
  const CHANGES = ["new", "grown", "known", "single", "vanished", "withdrawn"];
  const FOOTPRINT_LAYERS = CHANGES.map((change) => `foot-${change}`);
  // What a reader may hide, with its layers.
  const LAYER_SETS = {
    labels: ["station-names", "station-asks"],
    arrows: ["arrows"],
    footprints: ["foot-area", "foot-halo", ...FOOTPRINT_LAYERS],
    scene: ["scene"],
    susceptibility: ["susceptibility"],
    points: ["points", "squares"],
    zones: ["zones-area", "zones-line"],
  };
  const SHORTEST_ARROW_PX = 16;
  const LONGEST_ARROW_PX = 76;
  const ARROW_PX_PER_DECADE = 15;
  const SHORTEST_ARROW_MM_PER_DAY = 0.1;

  function isInSet(set, layerId) {
    return set === "ground" ? layerId.startsWith("ground:") : LAYER_SETS[set].includes(layerId);
  }

  // ---- stations ---------------------------------------------------------------------------------
  // The length grows with the logarithm of the velocity. Even lengths keep the number of images small.
  function lengthOfArrow(velocity) {
    const decades = Math.log10(Math.abs(velocity) / SHORTEST_ARROW_MM_PER_DAY);
    const length = SHORTEST_ARROW_PX + ARROW_PX_PER_DECADE * decades;
    return Math.round(Math.min(LONGEST_ARROW_PX, Math.max(SHORTEST_ARROW_PX, length)) / 2) * 2;
  }

  function colourOfStation(station) {
    if (station.asks > 0) {
      return M.classOfLevel(station.asks_name, station.asks, station.top_level);
    }
    return station.state === null ? "u" : "0";
  }

  /** Add mark, label, arrow and order of drawing to the properties of each station. */
  function addMarks(collection) {
    for (const { properties: station } of collection.features) {
      const place = station.on_slope ? "slope" : "control";
      const health = station.state === "ok" ? "" : "bad";
      const hasHeading = station.heading_deg !== null && station.heading_deg !== undefined;
      station.mark = `station|${place}|${colourOfStation(station)}|${health}`;
      station.label = station.asks > 0 ? `${station.station}\n${tr(station.asks_name)}` : station.station;
      station.order = -station.asks;
      station.arrow = hasHeading ? `arrow|${lengthOfArrow(station.velocity_mm_per_day)}` : "";
    }
    return collection;
  }

  function listStationLayers() {
    const common = { type: "symbol", source: "stations" };
    const labels = {
      ...common,
      paint: {
        "text-color": M.readColour("--text"),
        "text-halo-color": M.readColour("--ground"),
        "text-halo-width": 2,
      },
    };
    const labelLayout = { "text-field": ["get", "label"], "symbol-sort-key": ["get", "order"] };
    return [
      {
        ...common,
        id: "arrows",
        filter: ["!=", ["get", "arrow"], ""],
        layout: {
          "icon-image": ["get", "arrow"],
          "icon-rotate": ["get", "heading_deg"],
          "icon-anchor": "bottom",
          "icon-rotation-alignment": "map",
          "icon-allow-overlap": true,
          "icon-ignore-placement": true,
        },
      },
      {
        ...labels,
        id: "station-names",
        filter: ["==", ["get", "asks"], 0],
        layout: { ...labelLayout, ...M.placeLabels(1.25) },
      },
      // Later layers are placed first, so stations that request a level keep their names.
      {
        ...labels,
        id: "station-asks",
        filter: [">", ["get", "asks"], 0],
        layout: { ...labelLayout, ...M.placeLabels(1.5) },
      },
      {
        ...common,
        id: "stations",
        layout: {
          "icon-image": ["get", "mark"],
          "icon-allow-overlap": true,
          "icon-ignore-placement": false,
          "symbol-sort-key": ["-", 0, ["get", "order"]],
        },
      },
    ];
  }

  // ---- images -----------------------------------------------------------------------------------
  function makeImageSource(url, [west, south, east, north]) {
    const coordinates = [
      [west, north],
      [east, north],
      [east, south],
      [west, south],
    ];
    return { type: "image", url, coordinates };
  }

  function makeImageLayer(id) {
    return { id, type: "raster", source: id, paint: { "raster-opacity": 0.7, "raster-fade-duration": 0 } };
  }

  // ---- areas ------------------------------------------------------------------------------------
  function listZoneLayers() {
    const text = M.readColour("--text");
    const advice = M.readColour("--advice");
    const danger = M.readColour("--lv-3");
    return [
      {
        id: "zones-area",
        type: "fill",
        source: "zones",
        filter: ["in", ["get", "kind"], ["literal", ["area", "exposed", "velocity"]]],
        paint: {
          "fill-color": ["match", ["get", "kind"], "exposed", danger, "velocity", advice, text],
          "fill-opacity": ["match", ["get", "kind"], "exposed", 0.12, 0.05],
        },
      },
      {
        id: "zones-line",
        type: "line",
        source: "zones",
        paint: {
          "line-color": ["match", ["get", "kind"], "velocity", advice, text],
          "line-opacity": ["match", ["get", "kind"], "velocity", 1, 0.6],
          "line-width": ["match", ["get", "kind"], "velocity", 2.4, 1.2],
          "line-dasharray": [2, 3],
        },
      },
    ];
  }

  function listFootprintLayers() {
    const danger = M.readColour("--lv-3");
    const advice = M.readColour("--advice");
    const muted = M.readColour("--muted");
    const lines = {
      new: { colour: danger },
      grown: { colour: danger },
      known: { colour: danger, dashes: [3, 2] },
      single: { colour: advice },
      vanished: { colour: muted, dashes: [1, 2] },
      withdrawn: { colour: muted, dashes: [1, 2] },
    };
    const area = {
      id: "foot-area",
      type: "fill",
      source: "footprints",
      filter: ["in", ["get", "change"], ["literal", ["new", "grown", "single"]]],
      paint: { "fill-color": ["match", ["get", "change"], "single", advice, danger], "fill-opacity": 0.22 },
    };
    const halo = {
      id: "foot-halo",
      type: "line",
      source: "footprints",
      paint: { "line-color": M.readColour("--panel"), "line-width": 5 },
    };
    const outlines = CHANGES.map((change) => {
      const { colour, dashes } = lines[change];
      const paint = { "line-color": colour, "line-width": 2.4 };
      return {
        id: `foot-${change}`,
        type: "line",
        source: "footprints",
        filter: ["==", ["get", "change"], change],
        paint: dashes ? { ...paint, "line-dasharray": dashes } : paint,
      };
    });
    return [area, halo, ...outlines];
  }

  /** Return sources and layers for what the map holds. Later layers are above earlier ones. */
  function makeStyle(content, api) {
    const sources = {};
    for (const name of ["stations", "footprints", "points", "zones"]) {
      sources[name] = { type: "geojson", data: content[name] };
    }
    const layers = [];
    const { susceptibility, scene, sceneLayers } = content;
    if (susceptibility) {
      sources.susceptibility = makeImageSource(susceptibility.url, susceptibility.bounds);
      layers.push(makeImageLayer("susceptibility"));
    }
    if (scene?.bounds) {
      const preview = `${api}/scenes/${scene.scene_hash}/preview.png`;
      sources.scene = M.makeTileSource(sceneLayers?.tiles) ?? makeImageSource(preview, scene.bounds);
      layers.push(makeImageLayer("scene"));
    }
    layers.push(...listZoneLayers(), P.squareLayer(), ...listFootprintLayers(), P.pointLayer(), ...listStationLayers());
    return { sources, layers };
  }

  return { CHANGES, FOOTPRINT_LAYERS, addMarks, isInSet, makeStyle };
})();
