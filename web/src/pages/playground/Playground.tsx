import { ActionIcon, Box, Button, Drawer, Group, Modal, NativeSelect, Stack, Text, Textarea, Tooltip } from "@mantine/core";
import { useDisclosure, useMediaQuery } from "@mantine/hooks";
import {
  IconAdjustments,
  IconBoxOff,
  IconCode,
  IconHistory,
  IconMessageCircle,
  IconPlayerStopFilled,
  IconSend2,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useCallback, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";
import { ApiError, api, body } from "../../api/client";
import { useSession } from "../../api/session";
import { CodeTabs } from "../../ui/Code";
import { Empty, ErrorNote, failed, Waiting } from "../../ui/feedback";
import { samples } from "../../ui/samples";
import { ConversationList } from "./ConversationList";
import { blank, type Conversation, type Message, newId, useConversations } from "./conversations";
import { MessageView } from "./MessageView";
import { ParametersPanel } from "./ParametersPanel";
import classes from "./Playground.module.css";
import { answer, requestBody } from "./request";

export default function Playground() {
  const { t } = useTranslation();
  const { session, may } = useSession();
  const store = useConversations(`${session?.workspace.id}.${session?.user.id}`);
  const [draft, setDraft] = useState<Conversation>(() => blank());
  const [currentId, setCurrentId] = useState<string | undefined>(() => store.list[0]?.id);
  const current = store.list.find((c) => c.id === currentId) ?? draft;
  const [text, setText] = useState("");
  const [running, setRunning] = useState<{ conversation: string; message: string; abort: AbortController } | null>(null);
  const [side, sideDrawer] = useDisclosure(false);
  const [panel, panelDrawer] = useDisclosure(false);
  const [code, codeModal] = useDisclosure(false);
  const wide = useMediaQuery("(min-width: 75em)", true, { getInitialValueInEffect: false });
  const broad = useMediaQuery("(min-width: 88em)", true, { getInitialValueInEffect: false });
  const log = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLTextAreaElement>(null);
  const sticks = useRef(true);

  const models = useQuery({
    queryKey: ["models"],
    queryFn: () => body(api.GET("/console/api/models")),
    refetchInterval: (q) => (running || q.state.data?.models.some((m) => m.load.state === "loading") ? 1000 : false),
  });
  const settings = useQuery({
    queryKey: ["settings"],
    queryFn: () => body(api.GET("/console/api/settings")),
    enabled: may("admin"),
  });
  const chats = (models.data?.models ?? []).filter((m) => m.kind === "chat" && !m.problem);
  const usual =
    chats.find((m) => m.id === settings.data?.default_chat_model) ?? chats.find((m) => m.load.state === "loaded") ?? chats[0];
  const chosen = chats.find((m) => m.id === current.model) ?? usual;
  const loading = chosen?.load.state === "loading" ? chosen.load : undefined;

  /** Changes the conversation at hand, which is stored with its first message. */
  const change = useCallback(
    (patch: Partial<Conversation>) => {
      if (store.list.some((c) => c.id === current.id)) store.update(current.id, (c) => ({ ...c, ...patch }));
      else setDraft((d) => ({ ...d, ...patch }));
    },
    [store, current.id],
  );

  const run = useCallback(
    async (conversation: Conversation, history: Message[]) => {
      const reply: Message = { id: newId(), role: "assistant", content: "" };
      const title = conversation.title || (history[0]?.content ?? "").replaceAll(/\s+/g, " ").trim().slice(0, 60);
      const next = { ...conversation, title, messages: [...history, reply], updated: Date.now() };
      let request: Record<string, unknown>;
      try {
        request = requestBody(conversation, history);
      } catch {
        failed(new Error(t("parameter.schemaWrong")));
        return;
      }
      if (store.list.some((c) => c.id === next.id)) store.update(next.id, () => next);
      else store.add(next);
      setCurrentId(next.id);
      sticks.current = true;
      const abort = new AbortController();
      setRunning({ conversation: next.id, message: reply.id, abort });
      const write = (patch: Partial<Message>, keep: boolean) =>
        store.update(
          next.id,
          (c) => ({ ...c, updated: Date.now(), messages: c.messages.map((m) => (m.id === reply.id ? { ...m, ...patch } : m)) }),
          keep,
        );
      // One paint a frame, however fast the pieces come.
      let frame = 0;
      let latest: Partial<Message> = {};
      try {
        const end = await answer(request, abort.signal, (progress) => {
          latest = { content: progress.content, reasoning: progress.reasoning || undefined };
          frame ||= requestAnimationFrame(() => {
            frame = 0;
            write(latest, false);
          });
        });
        cancelAnimationFrame(frame);
        write({ content: end.content, reasoning: end.reasoning || undefined, finish: end.finish, stats: end.stats }, true);
      } catch (e) {
        cancelAnimationFrame(frame);
        if (abort.signal.aborted) write({ ...latest, finish: "stopped" }, true);
        else
          write(
            {
              ...latest,
              error: e instanceof ApiError ? { code: e.code, message: e.message } : { code: "unknown", message: String(e) },
            },
            true,
          );
      } finally {
        setRunning(null);
        input.current?.focus();
      }
    },
    [store, t],
  );

  const send = () => {
    const content = text.trim();
    if (!content || running || !chosen) return;
    setText("");
    void run({ ...current, model: chosen.id }, [
      ...current.messages.filter((m) => !m.error || m.content),
      { id: newId(), role: "user", content },
    ]);
  };
  const edit = useCallback(
    (id: string, content: string) => {
      const at = current.messages.findIndex((m) => m.id === id);
      if (at >= 0 && chosen)
        void run({ ...current, model: chosen.id }, [...current.messages.slice(0, at), { id: newId(), role: "user", content }]);
    },
    [current, chosen, run],
  );
  const regenerate = useCallback(() => {
    const history = current.messages.slice(0, current.messages.findLastIndex((m) => m.role === "user") + 1);
    if (history.length > 0 && chosen) void run({ ...current, model: chosen.id }, history);
  }, [current, chosen, run]);
  const stop = useCallback(() => running?.abort.abort(), [running]);

  useEffect(() => {
    if (!running) return;
    const key = (e: globalThis.KeyboardEvent) => e.key === "Escape" && stop();
    window.addEventListener("keydown", key);
    return () => window.removeEventListener("keydown", key);
  }, [running, stop]);
  // Leaving the page ends the answer: nobody reads it.
  const latestRun = useRef(running);
  latestRun.current = running;
  useEffect(() => () => latestRun.current?.abort.abort(), []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: follows the text as it grows
  useEffect(() => {
    const element = log.current;
    if (element && sticks.current) element.scrollTop = element.scrollHeight;
  }, [current.messages]);

  const keys = (e: KeyboardEvent) => {
    if (e.key === "Enter" && !e.shiftKey && !e.nativeEvent.isComposing) {
      e.preventDefault();
      send();
    }
  };
  const fresh = () => {
    setDraft(blank(current));
    setCurrentId(undefined);
    sideDrawer.close();
    input.current?.focus();
  };

  if (models.isPending) return <Waiting />;
  if (models.isError)
    return (
      <Box p="lg">
        <ErrorNote error={models.error} again={() => void models.refetch()} />
      </Box>
    );
  if (!chosen)
    return (
      <Empty icon={<IconBoxOff size={28} aria-hidden />} title={t("playground.noModel")} text={t("playground.noModelText")}>
        <Button component={Link} to="/models">
          {t("playground.toModels")}
        </Button>
      </Empty>
    );

  const list = (
    <ConversationList
      store={store}
      current={current.id}
      onSelect={(id) => {
        setCurrentId(id);
        sideDrawer.close();
      }}
      onNew={fresh}
    />
  );
  const parameters = (
    <ParametersPanel
      system={current.system}
      parameters={current.parameters}
      onSystem={(system) => change({ system })}
      onChange={(p) => change({ parameters: p })}
    />
  );
  const request = () => {
    try {
      const history = current.messages.filter((m) => m.role === "user" || m.content);
      const shown = history.at(-1)?.role === "assistant" ? history.slice(0, -1) : history;
      return requestBody(
        { ...current, model: chosen.id },
        shown.length > 0 ? shown : [{ role: "user", content: text.trim() || t("playground.hello") }],
      );
    } catch {
      return requestBody({ ...current, model: chosen.id, parameters: { ...current.parameters, format: "text" } }, []);
    }
  };
  const busy = running !== null;
  return (
    <div className={classes.root}>
      {wide && (
        <aside className={classes.side} aria-label={t("playground.conversations")}>
          {list}
        </aside>
      )}
      <section className={classes.middle} aria-label={t("nav.playground")}>
        <h1 style={{ position: "absolute", width: 1, height: 1, overflow: "hidden", clipPath: "inset(50%)" }}>
          {t("nav.playground")}
        </h1>
        <Group className={classes.bar} justify="space-between" wrap="nowrap" gap="xs">
          <Group gap="xs" wrap="nowrap" miw={0} style={{ flex: 1 }}>
            {!wide && (
              <ActionIcon
                variant="subtle"
                color="gray"
                size="lg"
                onClick={sideDrawer.open}
                aria-label={t("playground.conversations")}
              >
                <IconHistory size={18} aria-hidden />
              </ActionIcon>
            )}
            <NativeSelect
              aria-label={t("field.model")}
              value={chosen.id}
              disabled={busy}
              onChange={(e) => change({ model: e.currentTarget.value })}
              data={chats.map((m) => ({ value: m.id, label: m.load.state === "loaded" ? `● ${m.id}` : m.id }))}
              style={{ minWidth: 0, flex: "0 1 340px" }}
            />
          </Group>
          <Group gap={4} wrap="nowrap">
            <Tooltip label={t("playground.code")}>
              <ActionIcon variant="subtle" color="gray" size="lg" onClick={codeModal.open} aria-label={t("playground.code")}>
                <IconCode size={18} aria-hidden />
              </ActionIcon>
            </Tooltip>
            {!broad && (
              <Tooltip label={t("playground.parameters")}>
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  size="lg"
                  onClick={panelDrawer.open}
                  aria-label={t("playground.parameters")}
                >
                  <IconAdjustments size={18} aria-hidden />
                </ActionIcon>
              </Tooltip>
            )}
          </Group>
        </Group>
        <div
          ref={log}
          className={classes.log}
          role="log"
          aria-live="polite"
          aria-busy={busy}
          aria-label={t("playground.log")}
          data-testid="answer"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also by keyboard
          tabIndex={0}
          onScroll={(e) => {
            const { scrollTop, scrollHeight, clientHeight } = e.currentTarget;
            sticks.current = scrollHeight - scrollTop - clientHeight < 60;
          }}
        >
          <div className={classes.column}>
            {current.messages.length === 0 && (
              <Empty
                icon={<IconMessageCircle size={28} aria-hidden />}
                title={t("playground.welcome")}
                text={t("playground.welcomeText", { model: chosen.id })}
              />
            )}
            {current.messages.map((m, i) => (
              <MessageView
                key={m.id}
                message={m}
                streaming={running?.message === m.id}
                last={i === current.messages.length - 1}
                busy={busy}
                onEdit={edit}
                onRegenerate={regenerate}
              />
            ))}
          </div>
        </div>
        <div className={classes.composer}>
          <div className={classes.column}>
            <Stack gap={6}>
              {loading && (
                <Text size="xs" c="dimmed" role="status">
                  {t("playground.loading", { model: chosen.id, percent: Math.round(loading.progress * 100) })}
                </Text>
              )}
              <Group align="flex-end" gap="xs" wrap="nowrap">
                <Textarea
                  ref={input}
                  style={{ flex: 1 }}
                  autosize
                  minRows={1}
                  maxRows={8}
                  size="md"
                  autoFocus
                  placeholder={t("playground.placeholder")}
                  aria-label={t("playground.message")}
                  value={text}
                  onChange={(e) => setText(e.currentTarget.value)}
                  onKeyDown={keys}
                />
                {busy ? (
                  <Tooltip label={t("playground.stop")}>
                    <ActionIcon size={42} color="red" variant="filled" onClick={stop} aria-label={t("playground.stop")}>
                      <IconPlayerStopFilled size={18} aria-hidden />
                    </ActionIcon>
                  </Tooltip>
                ) : (
                  <Tooltip label={t("playground.send")}>
                    <ActionIcon
                      size={42}
                      variant="filled"
                      onClick={send}
                      disabled={!text.trim()}
                      aria-label={t("playground.send")}
                    >
                      <IconSend2 size={18} aria-hidden />
                    </ActionIcon>
                  </Tooltip>
                )}
              </Group>
            </Stack>
          </div>
        </div>
      </section>
      {broad && (
        <aside className={classes.panel} aria-label={t("playground.parameters")}>
          {parameters}
        </aside>
      )}
      <Drawer
        opened={side && !wide}
        onClose={sideDrawer.close}
        title={t("playground.conversations")}
        size={280}
        closeButtonProps={{ "aria-label": t("action.close") }}
      >
        {list}
      </Drawer>
      <Drawer
        opened={panel && !broad}
        onClose={panelDrawer.close}
        title={t("playground.parameters")}
        position="right"
        size={340}
        closeButtonProps={{ "aria-label": t("action.close") }}
      >
        {parameters}
      </Drawer>
      <Modal
        opened={code}
        onClose={codeModal.close}
        title={t("playground.code")}
        size="lg"
        closeButtonProps={{ "aria-label": t("action.close") }}
      >
        <Stack>
          <Text size="sm" c="dimmed">
            {t("playground.codeText")}
          </Text>
          {code && (
            <CodeTabs samples={samples({ base: window.location.origin, key: "sk-…", body: { ...request(), stream: true } })} />
          )}
        </Stack>
      </Modal>
    </div>
  );
}
