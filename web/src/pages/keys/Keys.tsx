import {
  Alert,
  Button,
  Code,
  Group,
  Modal,
  MultiSelect,
  NativeSelect,
  Paper,
  SegmentedControl,
  Select,
  Stack,
  Table,
  Text,
  TextInput,
} from "@mantine/core";
import { IconKey, IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api, body, type KeyView, type Schemas } from "../../api/client";
import { Page } from "../../layout/Page";
import { CodeTabs, Copy } from "../../ui/Code";
import { Confirm, done, Empty, ErrorNote, Waiting } from "../../ui/feedback";
import { ago, when } from "../../ui/format";
import { Status } from "../../ui/Status";
import { samples } from "../../ui/samples";
import { WideTable } from "../../ui/WideTable";

type Kind = "model" | "dataset";
const DAYS = { never: 0, d7: 7, d30: 30, d90: 90, d365: 365 } as const;

export default function Keys() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [kind, setKind] = useState<Kind>("model");
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<Schemas["NewKeyView"] | null>(null);
  const [renaming, setRenaming] = useState<KeyView | null>(null);
  const [revoking, setRevoking] = useState<KeyView | null>(null);
  const keys = useQuery({
    queryKey: ["keys", kind],
    queryFn: () => body(api.GET("/console/api/keys", { params: { query: { kind } } })),
  });
  const models = useQuery({ queryKey: ["models"], queryFn: () => body(api.GET("/console/api/models")) });
  const usable = (models.data?.models ?? []).filter((m) => !m.problem);
  const changed = () => client.invalidateQueries({ queryKey: ["keys"] });
  const list = keys.data?.keys ?? [];
  return (
    <Page
      title={t("nav.keys")}
      text={t("keys.text")}
      actions={
        <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setMaking(true)}>
          {t("keys.create")}
        </Button>
      }
    >
      <SegmentedControl
        value={kind}
        onChange={(v) => setKind(v as Kind)}
        aria-label={t("keys.kind")}
        data={[
          { value: "model", label: t("keys.model") },
          { value: "dataset", label: t("keys.dataset") },
        ]}
        style={{ alignSelf: "flex-start" }}
      />
      {keys.isPending && <Waiting />}
      {keys.isError && <ErrorNote error={keys.error} again={() => void keys.refetch()} />}
      {keys.data && list.length === 0 && (
        <Empty
          icon={<IconKey size={28} aria-hidden />}
          title={t("keys.empty")}
          text={t(kind === "model" ? "keys.emptyModel" : "keys.emptyDataset")}
        >
          <Button onClick={() => setMaking(true)}>{t("keys.create")}</Button>
        </Empty>
      )}
      {list.length > 0 && (
        <WideTable label={t("nav.keys")} minWidth={640} spacing="sm">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t("field.name")}</Table.Th>
              <Table.Th>{t("keys.key")}</Table.Th>
              <Table.Th>{t("keys.scope")}</Table.Th>
              <Table.Th>{t("keys.used")}</Table.Th>
              <Table.Th>{t("keys.expires")}</Table.Th>
              <Table.Th>{t("field.actions")}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {list.map((key) => {
              const expired = key.expires_at !== null && key.expires_at !== undefined && key.expires_at < Date.now();
              return (
                <Table.Tr key={key.id}>
                  <Table.Td fw={500}>{key.name}</Table.Td>
                  <Table.Td>
                    <Code>{key.hint}</Code>
                  </Table.Td>
                  <Table.Td>{key.models.length > 0 ? key.models.join(", ") : t("keys.everything")}</Table.Td>
                  <Table.Td>
                    {key.last_used_at ? <span title={when(key.last_used_at)}>{ago(key.last_used_at)}</span> : t("keys.never")}
                  </Table.Td>
                  <Table.Td>
                    {key.revoked_at ? (
                      <Status color="gray">{t("keys.revoked")}</Status>
                    ) : expired ? (
                      <Status color="red">{t("keys.expired")}</Status>
                    ) : key.expires_at ? (
                      when(key.expires_at)
                    ) : (
                      t("keys.noExpiry")
                    )}
                  </Table.Td>
                  <Table.Td>
                    {!key.revoked_at && (
                      <Group gap="xs" justify="flex-end" wrap="nowrap">
                        <Button
                          size="compact-xs"
                          variant="default"
                          onClick={() => setRenaming(key)}
                          aria-label={t("keys.renameNamed", { name: key.name })}
                        >
                          {t("action.rename")}
                        </Button>
                        <Button
                          size="compact-xs"
                          variant="light"
                          color="red"
                          onClick={() => setRevoking(key)}
                          aria-label={t("keys.revokeNamed", { name: key.name })}
                        >
                          {t("keys.revoke")}
                        </Button>
                      </Group>
                    )}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </WideTable>
      )}
      {kind === "model" && usable.length > 0 && (
        <Paper withBorder p="md" radius="lg">
          <UseIt models={usable} secret="sk-…" />
        </Paper>
      )}
      {making && (
        <Create
          kind={kind}
          models={usable}
          onClose={() => setMaking(false)}
          onMade={(key) => {
            setMaking(false);
            setMade(key);
            setKind(key.kind === "dataset" ? "dataset" : "model");
            void changed();
          }}
        />
      )}
      <Modal
        opened={made !== null}
        onClose={() => setMade(null)}
        title={t("keys.made")}
        size="lg"
        closeOnClickOutside={false}
        closeButtonProps={{ "aria-label": t("action.close") }}
      >
        {made && (
          <Stack>
            <Alert color="yellow" variant="light">
              {t("keys.once")}
            </Alert>
            <Group wrap="nowrap" gap="xs">
              <Code block data-testid="secret" style={{ flex: 1, overflowX: "auto" }}>
                {made.secret}
              </Code>
              <Copy value={made.secret} label={t("keys.copy")} />
            </Group>
            {made.kind === "model" && usable.length > 0 && (
              <UseIt
                models={made.models.length > 0 ? usable.filter((m) => made.models.includes(m.id)) : usable}
                secret={made.secret}
              />
            )}
            <Group justify="flex-end">
              <Button onClick={() => setMade(null)}>{t("keys.saved")}</Button>
            </Group>
          </Stack>
        )}
      </Modal>
      {renaming && <Rename of={renaming} onClose={() => setRenaming(null)} onDone={changed} />}
      <Confirm
        opened={revoking !== null}
        onClose={() => setRevoking(null)}
        title={t("keys.revokeTitle", { name: revoking?.name })}
        text={t("keys.revokeText")}
        action={t("keys.revoke")}
        onConfirm={async () => {
          if (revoking) await api.DELETE("/console/api/keys/{id}", { params: { path: { id: revoking.id } } });
          done(t("keys.revokedNow"));
          await changed();
        }}
      />
    </Page>
  );
}

/** How to call a model with a key, ready to be pasted. */
function UseIt({ models, secret }: { models: Schemas["LocalModel"][]; secret: string }) {
  const { t } = useTranslation();
  const [id, setId] = useState(models.find((m) => m.kind === "chat")?.id ?? models[0]?.id ?? "");
  const model = models.find((m) => m.id === id) ?? models[0];
  if (!model) return null;
  const base = window.location.origin;
  const request =
    model.kind === "embedding"
      ? ({ path: "embeddings", body: { model: model.id, input: t("keys.sampleText") } } as const)
      : model.kind === "rerank"
        ? ({
            path: "rerank",
            body: { model: model.id, query: t("keys.sampleQuestion"), documents: [t("keys.sampleText"), t("playground.hello")] },
          } as const)
        : ({
            path: "chat/completions",
            body: { model: model.id, messages: [{ role: "user", content: t("keys.sampleQuestion") }], max_tokens: 200 },
          } as const);
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Text fw={600}>{t("keys.use")}</Text>
        <NativeSelect
          size="xs"
          aria-label={t("field.model")}
          value={model.id}
          onChange={(e) => setId(e.currentTarget.value)}
          data={models.map((m) => m.id)}
        />
      </Group>
      <CodeTabs samples={samples({ base, key: secret, path: request.path, body: request.body })} />
    </Stack>
  );
}

function Create({
  kind,
  models,
  onClose,
  onMade,
}: {
  kind: Kind;
  models: Schemas["LocalModel"][];
  onClose: () => void;
  onMade: (key: Schemas["NewKeyView"]) => void;
}) {
  const { t } = useTranslation();
  const [form, setForm] = useState<{ name: string; kind: Kind; models: string[]; days: keyof typeof DAYS }>({
    name: "",
    kind,
    models: [],
    days: "never",
  });
  const create = useMutation({
    mutationFn: () => {
      const days = DAYS[form.days];
      return body(
        api.POST("/console/api/keys", {
          body: {
            name: form.name.trim(),
            kind: form.kind,
            models: form.kind === "model" ? form.models : [],
            expires_at: days > 0 ? Date.now() + days * 86_400_000 : null,
          },
        }),
      );
    },
    onSuccess: onMade,
  });
  const wrong = create.error instanceof ApiError ? create.error : undefined;
  return (
    <Modal opened onClose={onClose} title={t("keys.create")} centered closeButtonProps={{ "aria-label": t("action.close") }}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          create.mutate();
        }}
      >
        <Stack>
          <TextInput
            label={t("field.name")}
            description={t("keys.nameHint")}
            required
            data-autofocus
            value={form.name}
            error={wrong?.param === "name" ? wrong.message : undefined}
            onChange={(e) => setForm({ ...form, name: e.currentTarget.value })}
          />
          <NativeSelect
            label={t("keys.kind")}
            value={form.kind}
            onChange={(e) => setForm({ ...form, kind: e.currentTarget.value as Kind })}
            data={[
              { value: "model", label: t("keys.model") },
              { value: "dataset", label: t("keys.dataset") },
            ]}
          />
          {form.kind === "model" && (
            <MultiSelect
              label={t("keys.scope")}
              description={t("keys.scopeHint")}
              placeholder={form.models.length === 0 ? t("keys.everything") : undefined}
              value={form.models}
              onChange={(v) => setForm({ ...form, models: v })}
              data={models.map((m) => m.id)}
              clearable
              clearButtonProps={{ "aria-label": t("action.clear") }}
            />
          )}
          <Select
            label={t("keys.expires")}
            value={form.days}
            allowDeselect={false}
            onChange={(v) => setForm({ ...form, days: (v ?? "never") as keyof typeof DAYS })}
            data={(Object.keys(DAYS) as (keyof typeof DAYS)[]).map((value) => ({
              value,
              label: value === "never" ? t("keys.noExpiry") : t("keys.days", { count: DAYS[value] }),
            }))}
          />
          {create.error && wrong?.param !== "name" && <ErrorNote error={create.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              {t("action.cancel")}
            </Button>
            <Button type="submit" loading={create.isPending}>
              {t("action.create")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function Rename({ of, onClose, onDone }: { of: KeyView; onClose: () => void; onDone: () => void }) {
  const { t } = useTranslation();
  const [name, setName] = useState(of.name);
  const save = useMutation({
    mutationFn: () => body(api.PATCH("/console/api/keys/{id}", { params: { path: { id: of.id } }, body: { name: name.trim() } })),
    onSuccess: () => {
      onDone();
      onClose();
    },
  });
  return (
    <Modal opened onClose={onClose} title={t("action.rename")} centered closeButtonProps={{ "aria-label": t("action.close") }}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          save.mutate();
        }}
      >
        <Stack>
          <TextInput
            label={t("field.name")}
            required
            data-autofocus
            value={name}
            onChange={(e) => setName(e.currentTarget.value)}
          />
          {save.error && <ErrorNote error={save.error} />}
          <Group justify="flex-end">
            <Button type="submit" loading={save.isPending}>
              {t("action.save")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
