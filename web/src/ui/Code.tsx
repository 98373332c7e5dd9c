import { ActionIcon, Box, CopyButton, Tabs, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import classes from "./Code.module.css";

export function Copy({ value, label }: { value: string; label?: string }) {
  const { t } = useTranslation();
  return (
    <CopyButton value={value} timeout={1500}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? t("state.copied") : (label ?? t("action.copy"))}>
          <ActionIcon variant="subtle" color={copied ? "green" : "gray"} onClick={copy} aria-label={label ?? t("action.copy")}>
            {copied ? <IconCheck size={16} aria-hidden /> : <IconCopy size={16} aria-hidden />}
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

/** Text to be pasted elsewhere. */
export function CodeBlock({ code, label }: { code: string; label: string }) {
  return (
    <Box className={classes.block}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines scroll, also by keyboard */}
      <section className={classes.pre} tabIndex={0} aria-label={label}>
        <code>{code}</code>
      </section>
      <Box className={classes.copy}>
        <Copy value={code} />
      </Box>
    </Box>
  );
}

/** The same request as curl, Python and JavaScript. */
export function CodeTabs({ samples }: { samples: { curl: string; python: string; javascript: string } }) {
  const names = { curl: "curl", python: "Python", javascript: "JavaScript" } as const;
  const kinds = Object.keys(names) as (keyof typeof names)[];
  return (
    <Tabs defaultValue="curl" keepMounted={false}>
      <Tabs.List>
        {kinds.map((kind) => (
          <Tabs.Tab key={kind} value={kind}>
            {names[kind]}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {kinds.map((kind) => (
        <Tabs.Panel key={kind} value={kind} pt="xs">
          <CodeBlock code={samples[kind]} label={names[kind]} />
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}
