import { Button, Group, Paper, Progress, Stack, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { api, body, type Download } from "../../api/client";
import { failed } from "../../ui/feedback";
import { bytes } from "../../ui/format";

const active = (d: Download) => d.state === "running" || d.state === "verifying";

export function Downloads({ onDone }: { onDone: () => void }) {
  const downloads = useQuery({
    queryKey: ["downloads"],
    queryFn: () => body(api.GET("/console/api/downloads")),
    refetchInterval: (q) => (q.state.data?.downloads.some(active) ? 800 : false),
  });
  const list = (downloads.data?.downloads ?? []).filter((d) => d.state !== "done" && d.state !== "cancelled");
  const ready = (downloads.data?.downloads ?? []).filter((d) => d.state === "done").length;
  const before = useRef<number | null>(null);
  useEffect(() => {
    if (before.current !== null && ready > before.current) onDone();
    if (downloads.data) before.current = ready;
  }, [ready, downloads.data, onDone]);
  return list.map((d) => <Row key={d.id} download={d} />);
}

function Row({ download: d }: { download: Download }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const options = { onError: failed, onSettled: () => client.invalidateQueries({ queryKey: ["downloads"] }) };
  const path = { params: { path: { id: d.id } } };
  const pause = useMutation({ mutationFn: () => api.POST("/console/api/downloads/{id}/pause", path), ...options });
  const resume = useMutation({ mutationFn: () => api.POST("/console/api/downloads/{id}/resume", path), ...options });
  const cancel = useMutation({ mutationFn: () => api.DELETE("/console/api/downloads/{id}", path), ...options });
  const total = d.total_bytes ?? 0;
  const parts = [
    t(`download.${d.state}`),
    total > 0 ? t("models.sent", { sent: bytes(d.received_bytes), total: bytes(total) }) : bytes(d.received_bytes),
    ...(d.state === "running" && d.rate ? [`${bytes(d.rate)}/s`] : []),
  ];
  return (
    <Paper withBorder p="md" radius="lg" component="article" aria-label={d.file}>
      <Stack gap="xs">
        <Group justify="space-between" wrap="nowrap">
          <Text fw={500} style={{ overflowWrap: "anywhere" }}>
            {d.file}
          </Text>
          <Group gap="xs" wrap="nowrap">
            {d.state === "running" && (
              <Button size="compact-xs" variant="default" onClick={() => pause.mutate()} loading={pause.isPending}>
                {t("download.pause")}
              </Button>
            )}
            {(d.state === "paused" || d.state === "failed") && (
              <Button size="compact-xs" onClick={() => resume.mutate()} loading={resume.isPending}>
                {t(d.state === "failed" ? "action.retry" : "download.resume")}
              </Button>
            )}
            <Button size="compact-xs" variant="light" color="red" onClick={() => cancel.mutate()} loading={cancel.isPending}>
              {t("action.cancel")}
            </Button>
          </Group>
        </Group>
        <Progress
          value={total > 0 ? (d.received_bytes / total) * 100 : 0}
          animated={active(d)}
          color={d.state === "failed" ? "red" : "hazel"}
          aria-label={d.file}
        />
        <Text size="sm" c="dimmed">
          {parts.join(" · ")}
        </Text>
        {d.error && (
          <Text size="sm" c="var(--mantine-color-error)" role="alert">
            {d.error}
          </Text>
        )}
      </Stack>
    </Paper>
  );
}
