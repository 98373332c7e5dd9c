import { Alert, Button, Center, Group, Loader, Modal, Stack, Text, ThemeIcon } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconAlertTriangle, IconRefresh } from "@tabler/icons-react";
import i18n from "i18next";
import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "../api/client";

/** An error in words: what the server said, or what keeps us from asking it. */
export function explain(error: unknown): string {
  if (error instanceof ApiError) return error.code === "offline" ? i18n.t("error.offline") : error.message;
  return error instanceof Error ? error.message : String(error);
}

export function ErrorNote({ error, again }: { error: unknown; again?: () => void }) {
  const { t } = useTranslation();
  const code = error instanceof ApiError && error.code !== "offline" ? error.code : undefined;
  return (
    <Alert color="red" variant="light" icon={<IconAlertTriangle aria-hidden />} title={t("error.title")} role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm" style={{ overflowWrap: "anywhere" }}>
          {explain(error)}
        </Text>
        {code && (
          <Text size="xs" ff="monospace">
            {code}
          </Text>
        )}
        {again && (
          <Button size="xs" variant="default" leftSection={<IconRefresh size={14} aria-hidden />} onClick={again}>
            {t("action.retry")}
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

export function Waiting({ label }: { label?: string }) {
  const { t } = useTranslation();
  return (
    <Center p="xl" role="status" aria-label={label ?? t("state.loading")}>
      <Loader size="sm" />
    </Center>
  );
}

export function Empty({ icon, title, text, children }: { icon: ReactNode; title: string; text?: string; children?: ReactNode }) {
  return (
    <Center p="xl">
      <Stack align="center" gap="sm" maw={460} ta="center">
        <ThemeIcon size={56} radius="xl" variant="light" color="gray" aria-hidden>
          {icon}
        </ThemeIcon>
        <Text fw={600} size="lg">
          {title}
        </Text>
        {text && <Text c="dimmed">{text}</Text>}
        {children}
      </Stack>
    </Center>
  );
}

export function done(message: string) {
  notifications.show({ message, color: "green" });
}
export function failed(error: unknown) {
  notifications.show({ message: explain(error), color: "red", autoClose: 8000, role: "alert" });
}

/** A question before something that cannot be undone. */
export function Confirm({
  opened,
  title,
  text,
  action,
  onClose,
  onConfirm,
}: {
  opened: boolean;
  title: string;
  text: string;
  action: string;
  onClose: () => void;
  onConfirm: () => Promise<unknown> | unknown;
}) {
  const { t } = useTranslation();
  const [busy, setBusy] = useState(false);
  const confirm = async () => {
    setBusy(true);
    try {
      await onConfirm();
      onClose();
    } catch (e) {
      failed(e);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Modal opened={opened} onClose={onClose} title={title} centered closeButtonProps={{ "aria-label": t("action.close") }}>
      <Stack>
        <Text>{text}</Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            {t("action.cancel")}
          </Button>
          <Button color="red" loading={busy} onClick={confirm}>
            {action}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
