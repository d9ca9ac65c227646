// One wake: its sound drawn and played, and who it was.
import { $, base, colour, pen, post, t, toast } from "./page.mjs";

const wake = $("#wake").dataset;
const FRAME = 512, HOP = 128, LOW_DB = -85, HIGH_DB = -15;

// 16 kHz, mono, 16 bit: what the journal keeps; its samples begin behind the chunk `data`.
async function sound() {
  const answer = await fetch(`${base}/wakes/${wake.number}.wav`);
  if (!answer.ok) return null;
  const view = new DataView(await answer.arrayBuffer());
  let at = 12;
  while (at + 8 <= view.byteLength && view.getUint32(at) !== 0x64617461) at += 8 + view.getUint32(at + 4, true);
  const rate = view.getUint32(24, true), start = at + 8;
  const length = Math.floor(Math.min(view.getUint32(at + 4, true), view.byteLength - start) / 2);
  return { rate, samples: Float32Array.from({ length }, (_, index) => view.getInt16(start + 2 * index, true) / 32768) };
}

// The power of a frame by a fast Fourier transform, radix 2, in place: re, im of length FRAME.
function transform(re, im) {
  for (let i = 1, j = 0; i < FRAME; i++) {
    let bit = FRAME >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j]] = [re[j], re[i]];
  }
  for (let size = 2; size <= FRAME; size <<= 1) {
    for (let start = 0; start < FRAME; start += size) {
      for (let k = 0; k < size / 2; k++) {
        const angle = (-2 * Math.PI * k) / size, c = Math.cos(angle), s = Math.sin(angle);
        const a = start + k, b = a + size / 2;
        const x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        [re[b], im[b]] = [re[a] - x, im[a] - y];
        [re[a], im[a]] = [re[a] + x, im[a] + y];
      }
    }
  }
}

function columns(samples) {
  const found = [];
  for (let start = 0; start + FRAME <= samples.length; start += HOP) {
    const re = new Float32Array(FRAME), im = new Float32Array(FRAME);
    for (let i = 0; i < FRAME; i++) re[i] = samples[start + i] * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME));
    transform(re, im);
    found.push(Float32Array.from({ length: FRAME / 2 }, (_, k) => 20 * Math.log10(Math.hypot(re[k], im[k]) / 128 + 1e-9)));
  }
  return found;
}

let told = null, spectrum = [], played = -1;
const rgb = (name) => {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = colour(name);
  probe.fillRect(0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data;
};

function drawWave() {
  const { context, width, height } = pen($("#wave"));
  const loudest = Math.max(0.02, ...told.samples.map(Math.abs));
  context.fillStyle = colour("wave");
  for (let x = 0; x < width; x += 2) {
    const piece = told.samples.subarray(Math.floor((x / width) * told.samples.length), Math.ceil(((x + 2) / width) * told.samples.length));
    const tall = (Math.max(...piece.map(Math.abs), 0) / loudest) * (height - 12);
    context.fillRect(x, (height - tall) / 2 - 0.5, 1.4, tall + 1);
  }
  line(context, Number(wake.end) / (told.samples.length / told.rate) * width, height, "score");
  if (played >= 0) line(context, played * width, height, "accent");
}
function line(context, x, height, name) {
  context.fillStyle = colour(name);
  context.fillRect(x - 1, 0, 2, height);
}
function drawSpectrogram() {
  const canvas = $("#spectrogram");
  const { context, width, height } = pen(canvas);
  const low = rgb("sunk"), mid = rgb("wave"), high = rgb("score");
  const picture = new ImageData(spectrum.length, FRAME / 2);
  spectrum.forEach((column, x) => column.forEach((db, bin) => {
    const share = Math.min(1, Math.max(0, (db - LOW_DB) / (HIGH_DB - LOW_DB)));
    const [from, to, part] = share < 0.5 ? [low, mid, 2 * share] : [mid, high, 2 * share - 1];
    const at = 4 * ((FRAME / 2 - 1 - bin) * spectrum.length + x);
    for (let c = 0; c < 3; c++) picture.data[at + c] = from[c] + (to[c] - from[c]) * part;
    picture.data[at + 3] = 255;
  }));
  const small = document.createElement("canvas");
  [small.width, small.height] = [picture.width, picture.height];
  small.getContext("2d").putImageData(picture, 0, 0);
  context.drawImage(small, 0, 0, width, height);
}
function draw() {
  if (!told) return;
  drawWave();
  drawSpectrogram();
}

$("#play").addEventListener("click", async () => {
  if (!told) return;
  const context = new AudioContext();
  const buffer = context.createBuffer(1, told.samples.length, told.rate);
  buffer.copyToChannel(told.samples, 0);
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  source.start();
  $("#play").disabled = true;
  const follow = () => {
    played = Math.min(1, context.currentTime / buffer.duration);
    drawWave();
    if (played < 1) requestAnimationFrame(follow);
  };
  follow();
  source.onended = () => {
    played = -1;
    drawWave();
    $("#play").disabled = false;
    document.body.dataset.played = wake.number;
    context.close();
  };
});

async function label(text) {
  const done = await post("/wakes/label", { numbers: [Number(wake.number)], label: text });
  if (!done) return;
  toast(t(done.learned ? "wake.labelled" : "wake.labelled_only"));
  for (const button of document.querySelectorAll("#labels button")) {
    button.setAttribute("aria-pressed", String(button.dataset.label === done.label));
  }
}
for (const button of document.querySelectorAll("#labels button")) button.addEventListener("click", () => label(button.dataset.label));
$("#other").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("#name").value.trim();
  if (name) label(name);
});

told = await sound();
if (told) {
  spectrum = columns(told.samples);
  draw();
} else {
  $("#play").disabled = true;
  toast(t("wake.no_sound"));
}
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
