import {
  Badge,
  Button,
  Group,
  NativeSelect,
  Paper,
  PasswordInput,
  SegmentedControl,
  Stack,
  Table,
  Text,
  TextInput,
  Title,
  useMantineColorScheme,
} from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api, body } from "../../api/client";
import { useSession } from "../../api/session";
import { LANGUAGES, setLanguage } from "../../i18n";
import { done, ErrorNote, failed, Waiting } from "../../ui/feedback";
import { ago } from "../../ui/format";
import { WideTable } from "../../ui/WideTable";
import { NewPassword } from "../SetUp";

export function Account() {
  const { t } = useTranslation();
  const { session, take } = useSession();
  const { setColorScheme } = useMantineColorScheme();
  const [name, setName] = useState(session?.user.name ?? "");
  const save = useMutation({
    mutationFn: (patch: { name?: string; language?: string; theme?: string }) =>
      body(api.PATCH("/console/api/account", { body: patch })),
    onSuccess: (next) => {
      take(next);
      done(t("state.saved"));
    },
    onError: failed,
  });
  if (!session) return null;
  return (
    <Stack gap="xl">
      <Stack maw={480}>
        <form
          onSubmit={(e) => {
            e.preventDefault();
            save.mutate({ name: name.trim() });
          }}
        >
          <Group align="flex-end">
            <TextInput
              label={t("field.name")}
              required
              style={{ flex: 1 }}
              value={name}
              onChange={(e) => setName(e.currentTarget.value)}
            />
            <Button type="submit" disabled={!name.trim() || name === session.user.name} loading={save.isPending}>
              {t("action.save")}
            </Button>
          </Group>
        </form>
        <TextInput label={t("field.email")} value={session.user.email} readOnly />
        <NativeSelect
          label={t("field.language")}
          value={session.user.language.startsWith("zh") ? "zh-Hans" : "en"}
          onChange={(e) => {
            setLanguage(e.currentTarget.value);
            save.mutate({ language: e.currentTarget.value });
          }}
          data={Object.entries(LANGUAGES).map(([value, label]) => ({ value, label }))}
        />
        <div>
          <Text size="sm" fw={500} mb={4}>
            {t("field.theme")}
          </Text>
          <SegmentedControl
            aria-label={t("field.theme")}
            value={["light", "dark"].includes(session.user.theme) ? session.user.theme : "system"}
            onChange={(theme) => {
              setColorScheme(theme === "light" || theme === "dark" ? theme : "auto");
              save.mutate({ theme });
            }}
            data={(["system", "light", "dark"] as const).map((value) => ({ value, label: t(`theme.${value}`) }))}
          />
        </div>
      </Stack>
      <Password />
      <Sessions />
    </Stack>
  );
}

function Password() {
  const { t } = useTranslation();
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const change = useMutation({
    mutationFn: () => body(api.POST("/console/api/account/password", { body: { current, new: next } })),
    onSuccess: () => {
      setCurrent("");
      setNext("");
      done(t("account.passwordChanged"));
    },
  });
  const wrong = change.error instanceof ApiError ? change.error : undefined;
  return (
    <Paper withBorder p="md" radius="lg" maw={480}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          change.mutate();
        }}
      >
        <Stack>
          <Title order={2} size="h4">
            {t("account.password")}
          </Title>
          <Text size="sm" c="dimmed">
            {t("account.passwordText")}
          </Text>
          <PasswordInput
            label={t("account.current")}
            required
            autoComplete="current-password"
            value={current}
            error={wrong?.param === "current" ? wrong.message : undefined}
            onChange={(e) => setCurrent(e.currentTarget.value)}
            visibilityToggleButtonProps={{ "aria-label": t("action.showPassword") }}
          />
          <NewPassword
            label={t("account.new")}
            value={next}
            onChange={setNext}
            error={wrong?.param === "new" ? wrong.message : undefined}
          />
          {change.error && !["current", "new"].includes(wrong?.param ?? "") && <ErrorNote error={change.error} />}
          <Group justify="flex-end">
            <Button type="submit" loading={change.isPending} disabled={!current || !next}>
              {t("account.change")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Paper>
  );
}

function Sessions() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const sessions = useQuery({ queryKey: ["sessions"], queryFn: () => body(api.GET("/console/api/sessions")) });
  const end = useMutation({
    mutationFn: (id: string) => body(api.DELETE("/console/api/sessions/{id}", { params: { path: { id } } })),
    onError: failed,
    onSettled: () => client.invalidateQueries({ queryKey: ["sessions"] }),
  });
  return (
    <Stack gap="xs">
      <Title order={2} size="h4">
        {t("account.sessions")}
      </Title>
      {sessions.isPending && <Waiting />}
      {sessions.isError && <ErrorNote error={sessions.error} again={() => void sessions.refetch()} />}
      {sessions.data && (
        <WideTable label={t("account.sessions")} minWidth={560}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t("account.device")}</Table.Th>
              <Table.Th>{t("account.address")}</Table.Th>
              <Table.Th>{t("account.seen")}</Table.Th>
              <Table.Th>{t("field.actions")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {sessions.data.sessions.map((s) => (
              <Table.Tr key={s.id}>
                <Table.Td maw={360}>
                  <Text size="sm" truncate title={s.user_agent}>
                    {s.user_agent || t("account.unknownDevice")}
                  </Text>
                </Table.Td>
                <Table.Td>{s.ip}</Table.Td>
                <Table.Td>{ago(s.last_seen_at)}</Table.Td>
                <Table.Td ta="right">
                  {s.current ? (
                    <Badge variant="default" tt="none">
                      {t("account.this")}
                    </Badge>
                  ) : (
                    <Button size="compact-xs" variant="default" onClick={() => end.mutate(s.id)}>
                      {t("account.end")}
                    </Button>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </WideTable>
      )}
    </Stack>
  );
}
