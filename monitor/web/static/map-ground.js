// The ground of a map: files of tiles and relief of the server, and a graticule where there is nothing else.
"use strict";
(() => {
  const { FONT, readColour } = SlopewardMap;
  const WATER = /water|ocean|sea|lake|river/i;
  const ROAD = /road|transport|highway|street|path|track/i;
  const BORDER = /bound|admin/i;
  const BUILDING = /build|structure/i;
  const VEGETATION = /land|park|wood|forest|green|earth|nature/i;
  const LABEL = /place|poi|label|name/i;
  const DARK_TEXT_SUM = 380; // of red, green and blue: lighter text means a dark page

  // Attributions contain HTML.
  function stripTags(text) {
    return new DOMParser().parseFromString(String(text ?? ""), "text/html").body.textContent.trim();
  }

  async function describeTiles(tileReader, name, url) {
    const archive = new pmtiles.PMTiles(location.origin + url);
    tileReader.add(archive);
    const header = await archive.getHeader();
    const metadata = await archive.getMetadata();
    return {
      id: name,
      url: `pmtiles://${location.origin}${url}`,
      isVector: header.tileType === 1,
      isRelief: name === "relief",
      bounds: [header.minLon, header.minLat, header.maxLon, header.maxLat],
      layers: (metadata?.vector_layers ?? []).map((layer) => layer.id),
      name: stripTags(metadata?.name) || name,
      by: stripTags(metadata?.attribution),
    };
  }

  /** Return a description of each file of tiles. A file that cannot be read is left out. */
  async function describeGround(tileReader, ground) {
    const files = [...ground.tiles];
    if (ground.relief) {
      files.push({ name: "relief", url: ground.relief });
    }
    const descriptions = [];
    for (const { name, url } of files) {
      try {
        descriptions.push(await describeTiles(tileReader, name, url));
      } catch (error) {
        console.info(`${name}: ${error.message}`);
      }
    }
    return descriptions;
  }

  // ---- styles -----------------------------------------------------------------------------------
  function styleAreas(layer) {
    if (WATER.test(layer)) {
      return { "fill-color": readColour("--rain"), "fill-opacity": 0.35 };
    }
    if (BUILDING.test(layer)) {
      return { "fill-color": readColour("--muted"), "fill-opacity": 0.3 };
    }
    return VEGETATION.test(layer) ? { "fill-color": readColour("--lv-0"), "fill-opacity": 0.08 } : null;
  }

  function styleLines(layer) {
    const paint = {
      "line-color": readColour(WATER.test(layer) ? "--rain" : "--muted"),
      "line-width": ROAD.test(layer) ? 1.6 : 0.8,
      "line-opacity": 0.8,
    };
    return BORDER.test(layer) ? { ...paint, "line-dasharray": [4, 3] } : paint;
  }

  // Vector tiles of any origin are drawn by the names of their layers.
  function listVectorLayers(ground) {
    const layers = [];
    for (const name of ground.layers.filter((layer) => !LABEL.test(layer))) {
      const common = { source: ground.id, "source-layer": name };
      const id = `ground:${ground.id}:${name}`;
      const areas = styleAreas(name);
      if (areas) {
        const filter = ["==", ["geometry-type"], "Polygon"];
        layers.push({ ...common, id: `${id}:area`, type: "fill", filter, paint: areas });
      }
      const filter = ["==", ["geometry-type"], "LineString"];
      layers.push({ ...common, id: `${id}:line`, type: "line", filter, paint: styleLines(name) });
    }
    for (const name of ground.layers.filter((layer) => LABEL.test(layer))) {
      layers.push({
        id: `ground:${ground.id}:${name}`,
        source: ground.id,
        "source-layer": name,
        type: "symbol",
        filter: ["==", ["geometry-type"], "Point"],
        layout: { "text-field": ["coalesce", ["get", "name"], ""], "text-font": FONT, "text-size": 12 },
        paint: {
          "text-color": readColour("--muted"),
          "text-halo-color": readColour("--ground"),
          "text-halo-width": 1.5,
        },
      });
    }
    return layers;
  }

  function isPageDark() {
    if (readColour("color-scheme") === "dark") {
      return true;
    }
    const textColour = getComputedStyle(document.body).color.match(/\d+/g).slice(0, 3);
    return textColour.reduce((sum, part) => sum + Number(part), 0) > DARK_TEXT_SUM;
  }

  function makeRasterLayer(ground) {
    return {
      id: `ground:${ground.id}`,
      type: "raster",
      source: ground.id,
      paint: {
        "raster-opacity": ground.isRelief ? 0.6 : 0.85,
        "raster-brightness-max": isPageDark() ? 0.55 : 1,
        "raster-saturation": -0.4,
        "raster-fade-duration": 0,
      },
    };
  }

  /** Return sources and layers of the ground. */
  function styleGround(grounds) {
    const sources = {};
    const layers = [{ id: "ground", type: "background", paint: { "background-color": readColour("--ground") } }];
    for (const ground of grounds) {
      if (ground.isVector) {
        sources[ground.id] = { type: "vector", url: ground.url };
        layers.push(...listVectorLayers(ground));
      } else {
        sources[ground.id] = { type: "raster", url: ground.url, tileSize: ground.isRelief ? 512 : 256 };
        layers.push(makeRasterLayer(ground));
      }
    }
    return { sources, layers };
  }

  // ---- graticule --------------------------------------------------------------------------------
  function chooseGraticuleStep(width, widthPx) {
    const span = width * Math.min(1, 400 / widthPx);
    const power = 10 ** Math.floor(Math.log10(span));
    return [0.2, 0.5, 1, 2].map((k) => k * power).find((step) => span / step <= 4) ?? 2 * power;
  }

  /** Return lines of longitude and latitude with their labels, as GeoJSON. */
  function makeGraticule([west, south, east, north], widthPx) {
    const step = chooseGraticuleStep(east - west, widthPx);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const features = [];
    const addLine = (coordinates, value, [positive, negative], labelAt, anchor) => {
      const text = `${Math.abs(value).toFixed(digits)}° ${value < 0 ? negative : positive}`;
      features.push(
        { type: "Feature", geometry: { type: "LineString", coordinates }, properties: {} },
        { type: "Feature", geometry: { type: "Point", coordinates: labelAt }, properties: { text, anchor } },
      );
    };
    for (let k = Math.ceil(west / step); k * step <= east; k++) {
      const longitude = k * step;
      const line = [
        [longitude, south],
        [longitude, north],
      ];
      addLine(line, longitude, ["E", "W"], [longitude, north], "top");
    }
    for (let k = Math.ceil(south / step); k * step <= north; k++) {
      const latitude = k * step;
      const line = [
        [west, latitude],
        [east, latitude],
      ];
      addLine(line, latitude, ["N", "S"], [west, latitude], "left");
    }
    return { type: "FeatureCollection", features };
  }

  function listGraticuleLayers() {
    return [
      {
        id: "graticule",
        type: "line",
        source: "graticule",
        filter: ["==", ["geometry-type"], "LineString"],
        paint: { "line-color": readColour("--text"), "line-opacity": 0.16, "line-width": 1 },
      },
      {
        id: "graticule-text",
        type: "symbol",
        source: "graticule",
        filter: ["==", ["geometry-type"], "Point"],
        layout: {
          "text-field": ["get", "text"],
          "text-anchor": ["get", "anchor"],
          "text-font": FONT,
          "text-size": 10,
          "text-padding": 1,
          "text-offset": [0.3, 0.3],
        },
        paint: {
          "text-color": readColour("--muted"),
          "text-halo-color": readColour("--ground"),
          "text-halo-width": 1.5,
        },
      },
    ];
  }

  /** Return a raster source for the tiles of a scene; null without tiles. */
  function makeTileSource(layer) {
    if (!layer) {
      return null;
    }
    return {
      type: "raster",
      tiles: [location.origin + layer.url],
      tileSize: layer.tile_size,
      minzoom: layer.zooms[0],
      maxzoom: layer.zooms[1],
      bounds: layer.bounds,
    };
  }

  Object.assign(SlopewardMap, {
    describeGround,
    listGraticuleLayers,
    makeGraticule,
    makeTileSource,
    styleGround,
  });
})();
