import i18n from "i18next";

const number = (value: number, digits = 0) =>
  new Intl.NumberFormat(i18n.language, { maximumFractionDigits: digits }).format(value);

/** Bytes as people read them, decimal units. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let shown = value;
  while (shown >= 1000 && at < units.length - 1) {
    shown /= 1000;
    at += 1;
  }
  return `${number(shown, shown < 10 && at > 1 ? 1 : 0)} ${units[at]}`;
}

/** 134_515_008 → 135 M. */
export function count(value: number): string {
  return new Intl.NumberFormat(i18n.language === "zh-Hans" ? "en" : i18n.language, {
    notation: "compact",
    maximumFractionDigits: 1,
  }).format(value);
}

export { number };

/** A moment in unix milliseconds. */
export function when(ms: number): string {
  return new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium", timeStyle: "short" }).format(ms);
}

/** How long ago, in the largest fitting unit. */
export function ago(ms: number, now = Date.now()): string {
  const seconds = Math.round((ms - now) / 1000);
  const format = new Intl.RelativeTimeFormat(i18n.language, { numeric: "auto" });
  const steps: [Intl.RelativeTimeFormatUnit, number][] = [
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ];
  for (const [unit, size] of steps) if (Math.abs(seconds) >= size) return format.format(Math.round(seconds / size), unit);
  return format.format(seconds, "second");
}
