
"use strict";
const $ = (id) => document.getElementById(id);
const SPAN = 60, STEP = 0.5, PATIENCE = 12000;
const STAGE_COLOURS = ["#6fa8ff", "#5ad1c8", "#f5b83d", "#c792ea", "#ff8f6b", "#9bd46a", "#f28fb1"];
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const share = (p) => (p === null || p === undefined ? "–" : `${Math.round(100 * p)} %`);
const figure = (n, digits = 0) =>
  n === null || n === undefined ? "–" : n.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

let hello = { labels: [], colours: [], uncertain: "#999", picture: true };
let camera = "up", connected = false, lastFrame = -1e9, refusal = "";

// The token came in the link; the cookie has taken its place, so it need not stay in the address.
if (location.search) history.replaceState(null, "", location.pathname);

function make(tag, text) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text; // never HTML: labels come from a bundle
  return element;
}

function visible() {
  return new Promise((done) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      done();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });
}

// Null where the network fails, which is nothing special.
const orNull = (promise) => promise.catch(() => null);

// Read an answer that never ends, piece by piece, and ask again whenever it does end.
async function follow(path, reader, onChange) {
  let wait = 500;
  for (;;) {
    await visible();
    const stop = new AbortController();
    const hide = () => document.hidden && stop.abort();
    let timer = 0, said = "";
    const alive = () => { clearTimeout(timer); timer = setTimeout(() => stop.abort(), PATIENCE); };
    document.addEventListener("visibilitychange", hide);
    try {
      alive();
      const answer = await orNull(fetch(path, { signal: stop.signal, cache: "no-store" }));
      if (answer && !answer.ok) said = ((await orNull(answer.text())) ?? "").trim();
      else if (answer) {
        onChange(true, "");
        wait = 500;
        const take = reader(), body = answer.body.getReader();
        for (;;) {
          const piece = await orNull(body.read());
          if (!piece || piece.done) break;
          alive();
          await take(piece.value);
        }
      }
    } catch (error) {
      console.error(error); // a fault of this page
    } finally {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", hide);
      stop.abort();
    }
    if (!document.hidden) onChange(false, said);
    await pause(wait);
    wait = Math.min(2 * wait, 5000);
  }
}

// Server-sent events.
function events() {
  const text = new TextDecoder();
  let held = "";
  return (bytes) => {
    const whole = (held + text.decode(bytes, { stream: true })).split("\n\n");
    held = whole.pop();
    for (const block of whole) {
      const lines = block.split("\n"), of = (key) => lines.find((line) => line.startsWith(key))?.slice(key.length);
      const name = of("event: "), data = of("data: ");
      if (name && data) ({ hello: greet, frame: showFaces, health: showHealth })[name]?.(JSON.parse(data));
    }
  };
}

// Pictures, one part each: a head with its length, then the JPEG.
function pictures() {
  const text = new TextDecoder("latin1");
  let held = new Uint8Array(0);
  return async (bytes) => {
    const joined = new Uint8Array(held.length + bytes.length);
    joined.set(held);
    joined.set(bytes, held.length);
    held = joined;
    for (;;) {
      const head = text.decode(held.subarray(0, 300)), end = head.indexOf("\r\n\r\n") + 4;
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? NaN);
      if (end < 4 || !(held.length >= end + length)) return;
      const jpeg = held.slice(end, end + length);
      held = held.slice(end + length);
      await showPicture(jpeg);
    }
  };
}

async function showPicture(jpeg) {
  const image = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  const canvas = $("picture");
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
  $("blank").hidden = true;
}

function greet(data) {
  if (data.labels.join("\n") !== hello.labels.join("\n")) { // another model than before the connection was lost
    samples.clear();
    cards.clear();
    $("cards").replaceChildren();
  }
  hello = data;
  document.title = $("title").textContent = data.title;
  $("view").hidden = !data.picture;
  $("picture").setAttribute("aria-label", data.blur ? "Live picture of the camera, faces blurred" : "Live picture of the camera");
  $("legend").replaceChildren(...data.labels.map((label, index) => keyed(data.colours[index], label)));
  if (!data.picture) $("legend").append(make("li", "Figures alone: this preview was started without the picture."));
  if (data.picture && !streaming) {
    streaming = true;
    follow("stream", pictures, (up, said) => {
      if (up || !said) return; // the figures tell when the connection is lost
      $("blank").textContent = said;
      $("blank").hidden = false;
    });
  }
}
let streaming = false;

function keyed(colour, label, value) {
  const item = make("li"), swatch = make("i");
  swatch.style.background = colour;
  item.append(swatch, make("span", label));
  if (value !== undefined) item.append(make("b", value));
  return item;
}

// Faces.
const cards = new Map();
const scoresOf = (face) => hello.labels.map((label) => (Object.hasOwn(face.scores, label) ? face.scores[label] : null));

function showFaces(data) {
  lastFrame = performance.now();
  showState();
  const seen = new Set(data.faces.map((face) => face.id));
  for (const [id, card] of cards) if (!seen.has(id)) { card.remove(); cards.delete(id); }
  for (const face of data.faces) {
    if (!cards.has(face.id)) {
      cards.set(face.id, newCard(face.id));
      $("cards").append(cards.get(face.id));
    }
    fill(cards.get(face.id), face);
  }
  $("nobody").hidden = data.faces.length > 0;
  $("people-title").textContent = data.faces.length ? `Faces (${data.faces.length})` : "Faces";
  document.querySelector("main").classList.toggle("many", data.faces.length > 4);
  remember(data.faces.map(scoresOf));
}

function newCard(id) {
  const card = make("li"), head = make("h3"), rows = make("ul");
  card.className = "card";
  head.append(make("span", `#${id}`), make("span"), make("span"));
  for (const [index, label] of hello.labels.entries()) {
    const row = make("li"), track = make("div"), bar = make("i"), name = make("span", label);
    name.title = label;
    track.className = "track";
    bar.style.background = hello.colours[index];
    track.append(bar);
    row.append(name, track, make("b"));
    rows.append(row);
  }
  card.append(head, rows);
  return card;
}

function fill(card, face) {
  const [, label, confidence] = card.firstChild.children, known = hello.labels.indexOf(face.label);
  label.textContent = face.label;
  confidence.textContent = share(face.confidence);
  card.style.setProperty("--colour", known < 0 ? hello.uncertain : hello.colours[known]);
  const scores = scoresOf(face), best = Math.max(...scores.map((score) => score ?? 0));
  scores.forEach((score, index) => {
    const row = card.lastChild.children[index], [, track, number] = row.children;
    track.firstChild.style.transform = `scaleX(${Math.min(1, Math.max(0, score ?? 0))})`;
    number.textContent = share(score);
    row.classList.toggle("best", score !== null && score === best);
  });
}

// The last minute: mean scores in steps of STEP seconds.
const samples = new Map();

function remember(faces) {
  const step = Math.floor(performance.now() / 1000 / STEP);
  if (!samples.has(step)) {
    samples.set(step, { sums: hello.labels.map(() => 0), n: 0 });
    for (const old of samples.keys()) if (old < step - SPAN / STEP) samples.delete(old);
  }
  const sample = samples.get(step);
  for (const scores of faces) {
    scores.forEach((score, index) => { sample.sums[index] += score ?? 0; });
    sample.n += 1;
  }
}

function drawStrip() {
  const canvas = $("strip"), ratio = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const pen = canvas.getContext("2d"), now = Math.floor(performance.now() / 1000 / STEP), wide = (width * STEP) / SPAN;
  pen.clearRect(0, 0, width, height);
  for (const [step, { sums, n }] of samples) {
    const right = width - (now - step) * wide, total = sums.reduce((sum, one) => sum + one, 0);
    let y = height;
    sums.forEach((sum, index) => {
      if (!n || !(total > 0)) return;
      const high = (height * sum) / total;
      pen.fillStyle = hello.colours[index];
      pen.fillRect(Math.floor(right - wide), y - high, Math.ceil(wide), high);
      y -= high;
    });
  }
}

function describeStrip() {
  const sums = hello.labels.map(() => 0);
  let n = 0;
  for (const sample of samples.values()) {
    sample.sums.forEach((sum, index) => { sums[index] += sum; });
    n += sample.n;
  }
  const parts = hello.labels.map((label, index) => [sums[index] / n, label]).sort((a, b) => b[0] - a[0]).slice(0, 3);
  const text = n ? parts.map(([mean, label]) => `${label} ${share(mean)}`).join(", ") : "no face";
  $("strip").setAttribute("aria-label", `Emotions over the last 60 seconds, mean over all faces: ${text}`);
}

// How the run is doing.
function showHealth(data) {
  camera = data.camera;
  $("rate").textContent = `${figure(data.fps, 1)} frames/s`;
  const stages = Object.entries(data.stage_ms), total = stages.reduce((sum, [, ms]) => sum + (ms ?? 0), 0);
  $("total").textContent = `${figure(total, 1)} ms`;
  const colours = stages.map(([name], index) => (name === "capture" ? "#66758a" : STAGE_COLOURS[index % STAGE_COLOURS.length]));
  $("stages").replaceChildren(...stages.map(([, ms], index) => {
    const part = make("i");
    part.style.flex = `${Math.max(0, ms ?? 0)} 0 0`;
    part.style.background = colours[index];
    return part;
  }));
  $("stage-list").replaceChildren(...stages.map(([name, ms], index) => keyed(colours[index], name, `${figure(ms, 1)} ms`)));
  $("temperature").textContent = data.temperature === null ? "–" : `${figure(data.temperature, 1)} °C`;
  $("dropped").textContent = figure(data.dropped);
  $("reconnects").textContent = figure(data.reconnects);
  $("frames").textContent = figure(data.frames);
  const s = Math.floor(data.seconds ?? 0), two = (n) => String(n).padStart(2, "0");
  $("seconds").textContent = `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  showState();
}

function showState() {
  const silent = performance.now() - lastFrame > 3000;
  let [word, kind, text] = ["live", "good", ""];
  if (refusal) [word, kind, text] = ["refused", "bad", refusal];
  else if (!connected) [word, kind, text] = ["connection lost", "bad", "Connection lost. Trying again until edgefer answers."];
  else if (camera !== "up") [word, kind, text] = ["camera lost", "warn", "The camera is lost. edgefer tries again until it is back."];
  else if (silent) [word, kind] = ["waiting for frames", "warn"];
  if ($("state").textContent !== word) $("state").textContent = word;
  $("state").className = `pill ${kind}`;
  if ($("banner").textContent !== text) $("banner").textContent = text;
  $("banner").className = kind;
  $("banner").hidden = !text;
  document.body.classList.toggle("stale", kind === "bad" || camera !== "up");
}

follow("events", events, (up, said) => {
  connected = up;
  refusal = said;
  showState();
});
setInterval(() => { if (!document.hidden && !calm.matches) drawStrip(); }, 250);
setInterval(() => { if (!document.hidden && calm.matches) drawStrip(); showState(); }, 1000);
setInterval(describeStrip, 5000);
