import { Alert, Badge, Button, Group, Paper, Progress, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { api, type LocalModel } from "../../api/client";
import { failed } from "../../ui/feedback";
import { bytes, count, number } from "../../ui/format";
import { Status } from "../../ui/Status";

const COLOR = { loaded: "green", loading: "blue", unloaded: "gray", failed: "red" } as const;

export function ModelCard({
  model,
  admin,
  onChanged,
  onOpen,
}: {
  model: LocalModel;
  admin: boolean;
  onChanged: () => void;
  onOpen: () => void;
}) {
  const { t } = useTranslation();
  const { facts, load } = model;
  const path = { params: { path: { id: model.id } } };
  const bring = useMutation({
    mutationFn: () => api.POST("/console/api/models/{id}/load", path),
    onError: failed,
    onSettled: onChanged,
    onMutate: () => void setTimeout(onChanged, 200),
  });
  const drop = useMutation({
    mutationFn: () => api.POST("/console/api/models/{id}/unload", path),
    onError: failed,
    onSettled: onChanged,
  });
  const loading = load.state === "loading" || bring.isPending;
  const line = [
    bytes(model.bytes),
    facts?.quantization,
    facts && facts.parameters > 0 ? t("models.parameters", { count: count(facts.parameters) as unknown as number }) : undefined,
    facts ? t("models.context", { tokens: number(model.effective.context_size) }) : undefined,
  ].filter(Boolean);
  return (
    <Paper withBorder p="md" radius="lg" component="article" aria-label={model.id}>
      <Stack gap="sm" h="100%" justify="space-between">
        <Stack gap={6}>
          <Group justify="space-between" wrap="nowrap" align="flex-start">
            <Title order={2} size="h5" style={{ overflowWrap: "anywhere" }}>
              {model.id}
            </Title>
            <Status color={COLOR[loading ? "loading" : load.state]}>
              {t(`models.state.${loading ? "loading" : load.state}`)}
            </Status>
          </Group>
          <Group gap={6}>
            <Badge variant="default" tt="none">
              {t(`models.kind.${model.kind}`)}
            </Badge>
            {model.built_in && (
              <Badge variant="default" tt="none">
                {t("models.builtIn")}
              </Badge>
            )}
            {model.settings.pinned && (
              <Badge variant="default" tt="none">
                {t("models.pinned")}
              </Badge>
            )}
          </Group>
          <Text size="sm" c="dimmed">
            {line.join(" · ")}
          </Text>
          {load.state === "loaded" && (
            <Text size="sm" c="dimmed">
              {t("models.use", { memory: bytes(load.memory_bytes), running: load.running, queued: load.queued })}
            </Text>
          )}
          {loading && (
            <Progress
              value={load.state === "loading" ? load.progress * 100 : 0}
              animated
              striped
              aria-label={t("models.state.loading")}
            />
          )}
          {model.problem && (
            <Alert color="red" variant="light" icon={<IconAlertTriangle aria-hidden />} p="xs">
              {model.problem}
            </Alert>
          )}
          {load.state === "failed" && (
            <Alert color="red" variant="light" p="xs" title={load.code}>
              {load.message}
            </Alert>
          )}
          {facts && !facts.fast_kernels && (
            <Alert color="yellow" variant="light" p="xs">
              {t("models.slow", { type: facts.quantization })}
            </Alert>
          )}
        </Stack>
        <Group gap="xs">
          {admin && !model.problem && load.state !== "loaded" && (
            <Button
              size="xs"
              loading={loading}
              onClick={() => bring.mutate()}
              aria-label={t("models.loadNamed", { name: model.id })}
            >
              {t("models.load")}
            </Button>
          )}
          {admin && load.state === "loaded" && (
            <Button
              size="xs"
              variant="default"
              loading={drop.isPending}
              onClick={() => drop.mutate()}
              aria-label={t("models.unloadNamed", { name: model.id })}
            >
              {t("models.unload")}
            </Button>
          )}
          <Button
            size="xs"
            variant="default"
            onClick={onOpen}
            aria-label={t(admin ? "models.settingsNamed" : "models.detailsNamed", { name: model.id })}
          >
            {t(admin ? "models.settings" : "models.details")}
          </Button>
        </Group>
      </Stack>
    </Paper>
  );
}
