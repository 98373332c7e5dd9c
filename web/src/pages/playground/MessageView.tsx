import { ActionIcon, Alert, Anchor, Box, Button, Group, Spoiler, Stack, Text, Textarea, Tooltip } from "@mantine/core";
import { IconPencil, IconRefresh } from "@tabler/icons-react";
import { memo, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { Copy } from "../../ui/Code";
import { number } from "../../ui/format";
import { Markdown } from "../../ui/Markdown";
import type { Message } from "./conversations";
import classes from "./Playground.module.css";

function Figures({ message }: { message: Message }) {
  const { t } = useTranslation();
  const s = message.stats;
  if (!s) return null;
  const generating = (s.totalMs - s.firstMs) / 1000;
  const parts = [
    t("playground.stats.tokens", { prompt: s.promptTokens, completion: s.completionTokens }),
    ...(s.cachedTokens > 0 ? [t("playground.stats.cached", { count: s.cachedTokens })] : []),
    ...(generating > 0 && s.completionTokens > 1
      ? [t("playground.stats.rate", { rate: number((s.completionTokens - 1) / generating, 1) })]
      : []),
    t("playground.stats.first", { ms: number(s.firstMs) }),
  ];
  return (
    <Text size="xs" c="dimmed" data-testid="stats">
      {parts.join(" · ")}
    </Text>
  );
}

export const MessageView = memo(function MessageView({
  message,
  streaming,
  last,
  busy,
  onEdit,
  onRegenerate,
}: {
  message: Message;
  streaming: boolean;
  last: boolean;
  busy: boolean;
  onEdit: (id: string, text: string) => void;
  onRegenerate: () => void;
}) {
  const { t } = useTranslation();
  const [draft, setDraft] = useState<string | null>(null);
  const mine = message.role === "user";
  return (
    <Box
      component="article"
      className={classes.message}
      data-role={message.role}
      aria-label={mine ? t("playground.you") : t("playground.answer")}
    >
      {draft !== null ? (
        <Stack gap="xs">
          <Textarea
            autosize
            minRows={2}
            maxRows={12}
            value={draft}
            onChange={(e) => setDraft(e.currentTarget.value)}
            aria-label={t("playground.edit")}
            autoFocus
          />
          <Group gap="xs" justify="flex-end">
            <Button size="xs" variant="default" onClick={() => setDraft(null)}>
              {t("action.cancel")}
            </Button>
            <Button
              size="xs"
              disabled={!draft.trim() || busy}
              onClick={() => {
                setDraft(null);
                onEdit(message.id, draft);
              }}
            >
              {t("playground.resend")}
            </Button>
          </Group>
        </Stack>
      ) : (
        <Box className={mine ? classes.mine : classes.theirs}>
          {message.reasoning && (
            <Spoiler maxHeight={44} showLabel={t("playground.thoughts")} hideLabel={t("action.less")} mb="xs">
              <Text size="sm" c="dimmed" style={{ whiteSpace: "pre-wrap" }}>
                {message.reasoning}
              </Text>
            </Spoiler>
          )}
          {mine ? (
            <div style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>{message.content}</div>
          ) : (
            <Markdown text={message.content} />
          )}
          {streaming && <span className={classes.caret} aria-hidden="true" />}
        </Box>
      )}
      {message.error && (
        <Alert
          color="red"
          variant="light"
          role="alert"
          mt="xs"
          title={message.error.code === "offline" ? undefined : message.error.code}
        >
          <Text size="sm">{message.error.code === "offline" ? t("error.offline") : message.error.message}</Text>
          {message.error.code === "out_of_memory" ||
          message.error.code === "model_not_found" ||
          message.error.code === "invalid_model_file" ? (
            <Anchor component={Link} to="/models" size="sm">
              {t("playground.toModels")}
            </Anchor>
          ) : null}
        </Alert>
      )}
      {message.finish === "length" && !streaming && (
        <Text size="xs" c="dimmed" mt={4}>
          {t("playground.cut")}
        </Text>
      )}
      {message.finish === "stopped" && (
        <Text size="xs" c="dimmed" mt={4}>
          {t("playground.stopped")}
        </Text>
      )}
      {!streaming && draft === null && (
        <Group gap={2} mt={4} className={classes.tools} justify={mine ? "flex-end" : "flex-start"}>
          <Copy value={message.content} />
          {mine && (
            <Tooltip label={t("playground.edit")}>
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={t("playground.edit")}
                disabled={busy}
                onClick={() => setDraft(message.content)}
              >
                <IconPencil size={16} aria-hidden />
              </ActionIcon>
            </Tooltip>
          )}
          {!mine && last && (
            <Tooltip label={t("playground.regenerate")}>
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={t("playground.regenerate")}
                disabled={busy}
                onClick={onRegenerate}
              >
                <IconRefresh size={16} aria-hidden />
              </ActionIcon>
            </Tooltip>
          )}
          {!mine && <Figures message={message} />}
        </Group>
      )}
    </Box>
  );
});
