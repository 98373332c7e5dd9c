import { Button, Group, Paper, Progress, SimpleGrid, Stack, Text } from "@mantine/core";
import { IconBoxOff, IconPlus } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body, type LocalModel } from "../../api/client";
import { useSession } from "../../api/session";
import { Page } from "../../layout/Page";
import { Empty, ErrorNote, Waiting } from "../../ui/feedback";
import { bytes } from "../../ui/format";
import { AddModel } from "./AddModel";
import { Downloads } from "./Downloads";
import { ModelCard } from "./ModelCard";
import { ModelDialog } from "./ModelDialog";

export default function Models() {
  const { t } = useTranslation();
  const { may } = useSession();
  const client = useQueryClient();
  const [adding, setAdding] = useState(false);
  const [open, setOpen] = useState<string | null>(null);
  const admin = may("admin");
  const models = useQuery({
    queryKey: ["models"],
    queryFn: () => body(api.GET("/console/api/models")),
    refetchInterval: (q) => (q.state.data?.models.some((m) => m.load.state === "loading") ? 700 : 5000),
  });
  const refresh = () => client.invalidateQueries({ queryKey: ["models"] });
  const list = models.data?.models ?? [];
  const runtime = models.data?.runtime;
  const shown: LocalModel | undefined = list.find((m) => m.id === open);
  const share = runtime && runtime.memory_budget_bytes > 0 ? (runtime.memory_used_bytes / runtime.memory_budget_bytes) * 100 : 0;
  return (
    <Page
      title={t("nav.models")}
      text={t("models.text")}
      actions={
        admin && (
          <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setAdding(true)}>
            {t("models.add")}
          </Button>
        )
      }
    >
      {models.isPending && <Waiting />}
      {models.isError && <ErrorNote error={models.error} again={() => void models.refetch()} />}
      {runtime && list.length > 0 && (
        <Paper withBorder p="md" radius="lg">
          <Stack gap="xs">
            <Group justify="space-between">
              <Text size="sm" fw={500}>
                {t("models.memory")}
              </Text>
              <Text size="sm" c="dimmed">
                {t("models.memoryUse", { used: bytes(runtime.memory_used_bytes), budget: bytes(runtime.memory_budget_bytes) })}
              </Text>
            </Group>
            <Progress value={share} color={share > 90 ? "red" : "hazel"} aria-label={t("models.memory")} />
            <Text size="xs" c="dimmed">
              {t("models.activity", {
                loaded: runtime.loaded,
                running: runtime.running,
                queued: runtime.queued,
                kernels: runtime.cpu_features.join(", "),
              })}
            </Text>
          </Stack>
        </Paper>
      )}
      {admin && <Downloads onDone={refresh} />}
      {models.data && list.length === 0 && (
        <Empty icon={<IconBoxOff size={28} aria-hidden />} title={t("models.empty")} text={t("models.emptyText")}>
          {admin && <Button onClick={() => setAdding(true)}>{t("models.add")}</Button>}
        </Empty>
      )}
      <SimpleGrid cols={{ base: 1, md: 2 }} component="section" aria-label={t("nav.models")}>
        {list.map((m) => (
          <ModelCard key={m.id} model={m} admin={admin} onChanged={refresh} onOpen={() => setOpen(m.id)} />
        ))}
      </SimpleGrid>
      {adding && <AddModel onClose={() => setAdding(false)} onAdded={refresh} />}
      {shown && <ModelDialog model={shown} admin={admin} onClose={() => setOpen(null)} onChanged={refresh} />}
    </Page>
  );
}
