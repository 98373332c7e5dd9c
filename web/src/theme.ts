import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from "@mantine/core";

const hazel: MantineColorsTuple = [
  "#fbf3ec",
  "#f2e2d3",
  "#e5c3a5",
  "#d8a374",
  "#cc874b",
  "#a9622c",
  "#96551f",
  "#7d451a",
  "#653716",
  "#4d2a11",
];

export const theme = createTheme({
  primaryColor: "hazel",
  primaryShade: { light: 6, dark: 5 },
  autoContrast: true,
  luminanceThreshold: 0.28,
  colors: { hazel },
  defaultRadius: "md",
  fontFamily:
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Code", "Noto Sans Mono", monospace',
  headings: { fontWeight: "650" },
  cursorType: "pointer",
});

/** Greys that keep a contrast of 4.5 to 1 on both grounds. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": "#545c66",
    "--mantine-color-placeholder": "#6a727c",
    "--mantine-color-anchor": "#85480f",
    "--mantine-color-error": "#c0222b",
    "--mantine-color-body": "#ffffff",
  },
  dark: {
    "--mantine-color-dimmed": "#a9b0ba",
    "--mantine-color-placeholder": "#8f97a2",
    "--mantine-color-anchor": "#e0a36c",
    "--mantine-color-error": "#ff8f8f",
    "--mantine-color-body": "#1b1c1f",
  },
});
