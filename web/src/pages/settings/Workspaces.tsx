import { Badge, Button, Group, Paper, Stack, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { useSession } from "../../api/session";
import { done, ErrorNote, failed } from "../../ui/feedback";

export function Workspaces() {
  const { t } = useTranslation();
  const { session, take, may } = useSession();
  const client = useQueryClient();
  const [name, setName] = useState("");
  const refresh = () => client.invalidateQueries({ queryKey: ["session"], exact: true });
  const create = useMutation({
    mutationFn: () => body(api.POST("/console/api/workspaces", { body: { name: name.trim() } })),
    onSuccess: async () => {
      done(t("workspaces.created", { name }));
      setName("");
      await refresh();
    },
  });
  const enter = useMutation({
    mutationFn: (id: string) => body(api.POST("/console/api/workspaces/{id}/switch", { params: { path: { id } } })),
    onSuccess: take,
    onError: failed,
  });
  if (!session) return null;
  return (
    <Stack maw={640}>
      <Text c="dimmed">{t("workspaces.text")}</Text>
      {session.workspaces.map((w) => (
        <Workspace
          key={w.id}
          id={w.id}
          name={w.name}
          role={w.role}
          here={w.id === session.workspace.id}
          onEnter={() => enter.mutate(w.id)}
          onRenamed={refresh}
        />
      ))}
      {may("owner") && (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            create.mutate();
          }}
        >
          <Stack gap="xs">
            <Group align="flex-end">
              <TextInput
                label={t("workspaces.new")}
                required
                style={{ flex: 1 }}
                value={name}
                onChange={(e) => setName(e.currentTarget.value)}
              />
              <Button type="submit" loading={create.isPending} disabled={!name.trim()}>
                {t("action.create")}
              </Button>
            </Group>
            {create.error && <ErrorNote error={create.error} />}
          </Stack>
        </form>
      )}
    </Stack>
  );
}

function Workspace({
  id,
  name,
  role,
  here,
  onEnter,
  onRenamed,
}: {
  id: string;
  name: string;
  role: string;
  here: boolean;
  onEnter: () => void;
  onRenamed: () => void;
}) {
  const { t } = useTranslation();
  const [draft, setDraft] = useState<string | null>(null);
  const rename = useMutation({
    mutationFn: (next: string) =>
      body(api.PATCH("/console/api/workspaces/{id}", { params: { path: { id } }, body: { name: next } })),
    onSuccess: () => {
      setDraft(null);
      onRenamed();
    },
    onError: failed,
  });
  return (
    <Paper withBorder p="md" radius="lg">
      {draft === null ? (
        <Group justify="space-between">
          <Group gap="xs">
            <Text fw={600}>{name}</Text>
            <Badge variant="default" tt="none">
              {t(`role.${role}` as "role.owner")}
            </Badge>
            {here && (
              <Badge variant="default" tt="none">
                {t("workspaces.here")}
              </Badge>
            )}
          </Group>
          <Group gap="xs">
            {role === "owner" && (
              <Button size="xs" variant="default" onClick={() => setDraft(name)}>
                {t("action.rename")}
              </Button>
            )}
            {!here && (
              <Button size="xs" onClick={onEnter}>
                {t("workspaces.enter")}
              </Button>
            )}
          </Group>
        </Group>
      ) : (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            rename.mutate(draft.trim());
          }}
        >
          <Group align="flex-end">
            <TextInput
              label={t("field.name")}
              required
              autoFocus
              style={{ flex: 1 }}
              value={draft}
              onChange={(e) => setDraft(e.currentTarget.value)}
            />
            <Button variant="default" onClick={() => setDraft(null)}>
              {t("action.cancel")}
            </Button>
            <Button type="submit" loading={rename.isPending} disabled={!draft.trim()}>
              {t("action.save")}
            </Button>
          </Group>
        </form>
      )}
    </Paper>
  );
}
