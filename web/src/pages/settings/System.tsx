import { Button, Code, Group, Paper, Progress, SimpleGrid, Stack, Table, Text, TextInput, Title } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body, csrfHeader, errorOf } from "../../api/client";
import { useSession } from "../../api/session";
import { ErrorNote, failed, Waiting } from "../../ui/feedback";
import { bytes, when } from "../../ui/format";
import { Status } from "../../ui/Status";
import { WideTable } from "../../ui/WideTable";

const COLOR: Record<string, string> = { ok: "green", warn: "yellow", fail: "red" };

export function System() {
  const { t } = useTranslation();
  const { may } = useSession();
  const system = useQuery({ queryKey: ["system"], queryFn: () => body(api.GET("/console/api/system")), refetchInterval: 10_000 });
  const settings = useQuery({ queryKey: ["settings"], queryFn: () => body(api.GET("/console/api/settings")) });
  const [filter, setFilter] = useState("");
  const [saving, setSaving] = useState(false);
  const backup = async () => {
    setSaving(true);
    try {
      const response = await fetch("/console/api/backup", { method: "POST", credentials: "same-origin", headers: csrfHeader() });
      if (!response.ok) throw await errorOf(response);
      const url = URL.createObjectURL(await response.blob());
      const link = document.createElement("a");
      link.href = url;
      link.download = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "filbert.backup";
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    } catch (e) {
      failed(e);
    } finally {
      setSaving(false);
    }
  };
  if (system.isPending) return <Waiting />;
  if (system.isError) return <ErrorNote error={system.error} again={() => void system.refetch()} />;
  const s = system.data;
  const usedDisk = s.disk_total_bytes - s.disk_free_bytes;
  const usedMemory = s.memory.total_bytes - s.memory.available_bytes;
  const gauge = (name: string, used: number, total: number, note: string) => (
    <Paper withBorder p="md" radius="lg">
      <Text size="sm" fw={500} mb={6}>
        {name}
      </Text>
      <Progress
        value={total > 0 ? (used / total) * 100 : 0}
        color={total > 0 && used / total > 0.9 ? "red" : "hazel"}
        aria-label={name}
        mb={6}
      />
      <Text size="sm" c="dimmed">
        {note}
      </Text>
    </Paper>
  );
  const config = (settings.data?.config ?? []).filter((c) =>
    `${c.key} ${c.description}`.toLowerCase().includes(filter.toLowerCase()),
  );
  return (
    <Stack gap="xl">
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        {gauge(
          t("system.memory"),
          usedMemory,
          s.memory.total_bytes,
          t("system.memoryText", {
            own: bytes(s.memory.pss_bytes),
            free: bytes(s.memory.available_bytes),
            total: bytes(s.memory.total_bytes),
          }),
        )}
        {gauge(
          t("system.disk"),
          usedDisk,
          s.disk_total_bytes,
          t("system.diskText", { free: bytes(s.disk_free_bytes), total: bytes(s.disk_total_bytes), folder: s.data_dir }),
        )}
      </SimpleGrid>
      <Stack gap="xs">
        <Title order={2} size="h4">
          {t("system.checks")}
        </Title>
        {s.checks.map((c) => (
          <Group key={c.name} align="flex-start" wrap="nowrap">
            <Status color={COLOR[c.status] ?? "gray"} w={90}>
              {t(`system.status.${c.status}` as "system.status.ok")}
            </Status>
            <div>
              <Text size="sm">{c.message}</Text>
              {c.hint && (
                <Text size="sm" c="dimmed">
                  {c.hint}
                </Text>
              )}
            </div>
          </Group>
        ))}
        <Text size="sm" c="dimmed">
          {t("system.since", { version: s.version, when: when(s.started_at) })}
        </Text>
      </Stack>
      {may("owner") && (
        <Stack gap="xs" align="flex-start">
          <Title order={2} size="h4">
            {t("system.backup")}
          </Title>
          <Text size="sm" c="dimmed" maw={640}>
            {t("system.backupText")}
          </Text>
          <Button
            leftSection={<IconDownload size={16} aria-hidden />}
            variant="default"
            loading={saving}
            onClick={() => void backup()}
          >
            {t("system.backupAction")}
          </Button>
        </Stack>
      )}
      <Stack gap="xs">
        <Title order={2} size="h4">
          {t("system.config")}
        </Title>
        <Text size="sm" c="dimmed" maw={640}>
          {t("system.configText")}
        </Text>
        <TextInput
          aria-label={t("system.filter")}
          placeholder={t("system.filter")}
          value={filter}
          onChange={(e) => setFilter(e.currentTarget.value)}
          maw={320}
        />
        <WideTable label={t("system.config")} minWidth={680}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t("system.key")}</Table.Th>
              <Table.Th>{t("system.value")}</Table.Th>
              <Table.Th>{t("system.source")}</Table.Th>
              <Table.Th>{t("system.meaning")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {config.map((c) => (
              <Table.Tr key={c.key}>
                <Table.Td>
                  <Code>{c.key}</Code>
                </Table.Td>
                <Table.Td style={{ overflowWrap: "anywhere" }}>{c.value}</Table.Td>
                <Table.Td>{c.source}</Table.Td>
                <Table.Td>
                  <Text size="sm" c="dimmed">
                    {c.description}
                  </Text>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </WideTable>
      </Stack>
    </Stack>
  );
}
