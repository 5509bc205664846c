// The map of all sites: each site by its level. A group of sites shows the highest level in it.
"use strict";
(() => {
  const M = window.SlopewardMap;
  const holder = document.querySelector('[data-map="overview"]');
  if (!holder) {
    return;
  }
  const REFRESH_MS = 10_000;
  const CLICK_PX = 12;
  // Classes of levels by urgency. An unknown level is below every other one, but groups still count it.
  const URGENCY = "u0b1234";
  const fold = holder.closest("details");
  const isWide = matchMedia("(min-width: 900px)");

  function adjustFold() {
    fold.open = isWide.matches;
  }
  adjustFold();
  isWide.addEventListener("change", adjustFold);

  let sites = M.EMPTY;
  let map = null;
  let refreshedAt = 0;

  function addMarks({ properties: site }) {
    const colour = M.classOfLevel(site.level_name, site.level, site.top_level);
    const level = site.level === null ? tr("unknown") : tr(site.level_name);
    const isIncomplete = site.level === null || site.observability !== "full";
    const sight = site.observability === "blind" ? `, ${tr("blind")}` : "";
    const urgency = URGENCY.indexOf(colour);
    Object.assign(site, {
      colour,
      mark: `site|slope|${colour}|${isIncomplete ? "bad" : ""}`,
      label: `${site.name}\n${level}${sight}`,
      worst: `${urgency}${colour}${level}`,
      blind: isIncomplete ? 1 : 0,
      order: -urgency,
    });
  }

  async function loadSites() {
    const loaded = await M.fetchJson("/api/v1/sites.geojson");
    loaded.features = loaded.features.filter((feature) => feature.geometry);
    loaded.features.forEach(addMarks);
    sites = loaded;
    map?.getSource("sites")?.setData(sites);
  }

  // ---- style ------------------------------------------------------------------------------------
  function makeSource() {
    const higher = [">", ["get", "worst"], ["accumulated"]];
    return {
      type: "geojson",
      data: sites,
      cluster: true,
      clusterRadius: 36,
      clusterMaxZoom: 15,
      clusterProperties: {
        worst: [
          ["case", higher, ["get", "worst"], ["accumulated"]],
          ["get", "worst"],
        ],
        blind: ["+", ["get", "blind"]],
      },
    };
  }

  function makeStyle() {
    const isGroup = ["has", "point_count"];
    const colourOfGroup = ["slice", ["get", "worst"], 1, 2];
    const urgencyOfGroup = ["to-number", ["slice", ["get", "worst"], 0, 1]];
    const crossOfGroup = ["case", [">", ["get", "blind"], 0], "bad", ""];
    const countOfGroup = ["concat", ["to-string", ["get", "point_count"]], " ", tr("sites")];
    const labelOfGroup = ["concat", ["slice", ["get", "worst"], 2], "\n", countOfGroup];
    const labels = { ...M.placeLabels(1.5), "text-max-width": 7 };
    const paint = {
      "text-color": M.readColour("--text"),
      "text-halo-color": M.readColour("--ground"),
      "text-halo-width": 2,
    };
    const common = { type: "symbol", source: "sites" };
    return {
      sources: { sites: makeSource() },
      layers: [
        {
          ...common,
          id: "site-names",
          filter: ["!", isGroup],
          layout: { ...labels, "text-field": ["get", "label"], "symbol-sort-key": ["get", "order"] },
          paint,
        },
        {
          ...common,
          id: "group-names",
          filter: isGroup,
          layout: { ...labels, "symbol-sort-key": ["-", 0, urgencyOfGroup], "text-field": labelOfGroup },
          paint,
        },
        {
          ...common,
          id: "sites",
          filter: ["!", isGroup],
          layout: {
            "icon-image": ["get", "mark"],
            "icon-allow-overlap": true,
            "symbol-sort-key": ["-", 0, ["get", "order"]],
          },
        },
        {
          ...common,
          id: "groups",
          filter: isGroup,
          layout: {
            "icon-image": ["concat", "group|slope|", colourOfGroup, "|", crossOfGroup],
            "icon-allow-overlap": true,
            "symbol-sort-key": urgencyOfGroup,
          },
        },
      ],
    };
  }

  // ---- behaviour --------------------------------------------------------------------------------
  function findBounds() {
    const places = sites.features.map((feature) => feature.geometry.coordinates);
    const longitudes = places.map((place) => place[0]);
    const latitudes = places.map((place) => place[1]);
    return [
      [Math.min(...longitudes) - 0.01, Math.min(...latitudes) - 0.01],
      [Math.max(...longitudes) + 0.01, Math.max(...latitudes) + 0.01],
    ];
  }

  // A click opens a site, or zooms to the sites of a group.
  async function openAt({ x, y }) {
    const box = [
      [x - CLICK_PX, y - CLICK_PX],
      [x + CLICK_PX, y + CLICK_PX],
    ];
    const layers = ["sites", "groups", "site-names", "group-names"];
    const [feature] = map.queryRenderedFeatures(box, { layers });
    if (!feature) {
      return;
    }
    const { cluster_id: groupId, site } = feature.properties;
    if (groupId === undefined) {
      location.assign(`/sites/${encodeURIComponent(site)}`);
      return;
    }
    const zoom = await map.getSource("sites").getClusterExpansionZoom(groupId);
    map.jumpTo({ center: feature.geometry.coordinates, zoom });
  }

  async function draw() {
    const [tiles] = await Promise.all([M.fetchOfMaps("/api/v1/map/tiles", []), loadSites()]);
    if (!sites.features.length) {
      return;
    }
    ({ map } = await M.openMap(holder, {
      ground: { ...M.NO_GROUND, tiles },
      bounds: findBounds(),
      label: tr("Map of all sites; the list beside it says the same"),
      style: makeStyle,
      margin: 120,
    }));
    map.on("click", (event) => openAt(event.point));
    M.showPointer(map, ["sites", "groups"]);
    document.addEventListener("refreshed", (event) => {
      const isDue = performance.now() - refreshedAt >= REFRESH_MS;
      if (!event.detail.hasChanged && !isDue) {
        return;
      }
      refreshedAt = performance.now();
      loadSites().catch(() => {});
    });
  }

  if (M.canDraw()) {
    M.drawWhenNear(holder, draw);
  } else {
    fold.closest(".sitesmap").hidden = true;
  }
})();
