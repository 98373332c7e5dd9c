import i18n from "i18next";
import { initReactI18next } from "react-i18next";
import { en } from "./en";
import { zh } from "./zh";

export const LANGUAGES = { en: "English", "zh-Hans": "简体中文" } as const;
export type Language = keyof typeof LANGUAGES;
const STORED = "filbert.language";

function first(): Language {
  try {
    const stored = localStorage.getItem(STORED);
    if (stored === "en" || stored === "zh-Hans") return stored;
  } catch {
    // Storage is switched off.
  }
  return navigator.languages?.some((l) => l.toLowerCase().startsWith("zh")) && !navigator.language.toLowerCase().startsWith("en")
    ? "zh-Hans"
    : "en";
}

void i18n.use(initReactI18next).init({
  resources: { en: { translation: en }, "zh-Hans": { translation: zh } },
  lng: first(),
  fallbackLng: "en",
  interpolation: { escapeValue: false },
  returnNull: false,
});

function mark() {
  document.documentElement.lang = i18n.language;
}
mark();
i18n.on("languageChanged", mark);

/** Changes the language of the console and remembers it in this browser. */
export function setLanguage(language: string) {
  const known: Language = language.startsWith("zh") ? "zh-Hans" : "en";
  try {
    localStorage.setItem(STORED, known);
  } catch {
    // Storage is switched off.
  }
  if (i18n.language !== known) void i18n.changeLanguage(known);
}

export default i18n;
