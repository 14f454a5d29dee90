// Numbers, sizes and times as text.

const number = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** 0.0042 → "4 ms", 3.21 → "3.2 s", 95 → "1 min 35 s", 7300 → "2 h 2 min". */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${number(seconds, 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${number(Math.floor(whole / 3600), 0)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** An estimated duration, rounded: 75 → "about 1 min 15 s". */
export function about(seconds) {
  if (seconds < 1) return "a moment";
  return `about ${seconds < 60 ? `${Math.round(seconds)} s` : duration(seconds)}`;
}

/** 7700000 → "7.7 MB". */
export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = count;
  let unit = "";
  while (value >= 1000 && units.length > 0) {
    value /= 1000;
    unit = units.shift();
  }
  return `${number(value, value < 10 ? 1 : 0)} ${unit}`;
}

/** 83.104 → "83.1 ml". */
export function millilitres(volume) {
  return `${number(volume, volume < 10 ? 2 : 1)} ml`;
}

/** 0.973 → "97 %", 0.999 → "> 99 %": 100 % and 0 % are shown only for exactly 1 and 0. */
export function percent(fraction) {
  const rounded = Math.round(fraction * 100);
  if (rounded === 100 && fraction < 1) return "> 99 %";
  if (rounded === 0 && fraction > 0) return "< 1 %";
  return `${rounded} %`;
}

/** 12345 → "12,345". */
export function count(value) {
  return number(value, 0);
}

/** 1, "scan" → "1 scan"; 2, "scan" → "2 scans". */
export function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** The time of day of an ISO 8601 timestamp, with the date unless it is today. */
export function timeOfDay(timestamp) {
  const then = new Date(timestamp);
  const time = then.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (then.toDateString() === new Date().toDateString()) return time;
  return `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}
