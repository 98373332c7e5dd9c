import { Button, Group, Modal, NativeSelect, Stack, Table, Text, TextInput } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api, body, type Schemas } from "../../api/client";
import { useSession } from "../../api/session";
import { Confirm, done, ErrorNote, failed, Waiting } from "../../ui/feedback";
import { ago } from "../../ui/format";
import { WideTable } from "../../ui/WideTable";
import { NewPassword } from "../SetUp";

const ROLES = ["owner", "admin", "editor", "member"] as const;

export function Members() {
  const { t } = useTranslation();
  const { session, may } = useSession();
  const client = useQueryClient();
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<Schemas["MemberView"] | null>(null);
  const members = useQuery({ queryKey: ["members"], queryFn: () => body(api.GET("/console/api/members")) });
  const refresh = () => client.invalidateQueries({ queryKey: ["members"] });
  const role = useMutation({
    mutationFn: ({ id, role: next }: { id: string; role: string }) =>
      body(api.PATCH("/console/api/members/{user_id}", { params: { path: { user_id: id } }, body: { role: next } })),
    onSuccess: () => done(t("state.saved")),
    onError: failed,
    onSettled: refresh,
  });
  const roles = ROLES.filter((r) => may("owner") || (r !== "owner" && r !== "admin"));
  return (
    <Stack>
      <Group justify="space-between">
        <Text c="dimmed" maw={620}>
          {t("members.text")}
        </Text>
        <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setAdding(true)}>
          {t("members.add")}
        </Button>
      </Group>
      {members.isPending && <Waiting />}
      {members.isError && <ErrorNote error={members.error} again={() => void members.refetch()} />}
      {members.data && (
        <WideTable label={t("settings.members")} minWidth={600} spacing="sm">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t("field.name")}</Table.Th>
              <Table.Th>{t("field.email")}</Table.Th>
              <Table.Th>{t("members.role")}</Table.Th>
              <Table.Th>{t("members.seen")}</Table.Th>
              <Table.Th>{t("field.actions")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {members.data.members.map((m) => {
              const above = !may("owner") && (m.role === "owner" || m.role === "admin");
              const self = m.user_id === session?.user.id;
              return (
                <Table.Tr key={m.user_id}>
                  <Table.Td fw={500}>{m.name}</Table.Td>
                  <Table.Td>{m.email}</Table.Td>
                  <Table.Td>
                    {above || self ? (
                      t(`role.${m.role}` as "role.owner")
                    ) : (
                      <NativeSelect
                        size="xs"
                        aria-label={t("members.roleOf", { name: m.name })}
                        value={m.role}
                        onChange={(e) => role.mutate({ id: m.user_id, role: e.currentTarget.value })}
                        data={roles.map((value) => ({ value, label: t(`role.${value}`) }))}
                      />
                    )}
                  </Table.Td>
                  <Table.Td>{m.last_login_at ? ago(m.last_login_at) : t("keys.never")}</Table.Td>
                  <Table.Td ta="right">
                    {!above && !self && (
                      <Button
                        size="compact-xs"
                        variant="light"
                        color="red"
                        onClick={() => setRemoving(m)}
                        aria-label={t("members.removeNamed", { name: m.name })}
                      >
                        {t("members.remove")}
                      </Button>
                    )}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </WideTable>
      )}
      {adding && <Add roles={roles} onClose={() => setAdding(false)} onAdded={refresh} />}
      <Confirm
        opened={removing !== null}
        onClose={() => setRemoving(null)}
        title={t("members.removeTitle", { name: removing?.name })}
        text={t("members.removeText")}
        action={t("members.remove")}
        onConfirm={async () => {
          if (removing) await api.DELETE("/console/api/members/{user_id}", { params: { path: { user_id: removing.user_id } } });
          await refresh();
        }}
      />
    </Stack>
  );
}

function Add({
  roles,
  onClose,
  onAdded,
}: {
  roles: readonly (typeof ROLES)[number][];
  onClose: () => void;
  onAdded: () => void;
}) {
  const { t } = useTranslation();
  const [form, setForm] = useState({ name: "", email: "", password: "", role: "member" });
  const add = useMutation({
    mutationFn: () => body(api.POST("/console/api/members", { body: form })),
    onSuccess: () => {
      done(t("members.added", { name: form.name }));
      onAdded();
      onClose();
    },
  });
  const wrong = add.error instanceof ApiError ? add.error : undefined;
  const at = (param: string) => (wrong?.param === param ? wrong.message : undefined);
  return (
    <Modal opened onClose={onClose} title={t("members.add")} centered closeButtonProps={{ "aria-label": t("action.close") }}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          add.mutate();
        }}
      >
        <Stack>
          <Text size="sm" c="dimmed">
            {t("members.addText")}
          </Text>
          <TextInput
            label={t("field.name")}
            required
            data-autofocus
            value={form.name}
            error={at("name")}
            onChange={(e) => setForm({ ...form, name: e.currentTarget.value })}
          />
          <TextInput
            label={t("field.email")}
            type="email"
            required
            autoComplete="off"
            value={form.email}
            error={at("email")}
            onChange={(e) => setForm({ ...form, email: e.currentTarget.value })}
          />
          <NewPassword
            label={t("members.password")}
            value={form.password}
            error={at("password")}
            onChange={(password) => setForm({ ...form, password })}
          />
          <NativeSelect
            label={t("members.role")}
            description={t(`members.hint.${form.role}` as "members.hint.owner")}
            value={form.role}
            onChange={(e) => setForm({ ...form, role: e.currentTarget.value })}
            data={roles.map((value) => ({ value, label: t(`role.${value}`) }))}
          />
          {add.error && !["name", "email", "password"].includes(wrong?.param ?? "") && <ErrorNote error={add.error} />}
          <Group justify="flex-end">
            <Button type="submit" loading={add.isPending}>
              {t("members.add")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
