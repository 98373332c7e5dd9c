import {
  Button,
  Divider,
  Group,
  Modal,
  NativeSelect,
  NumberInput,
  SimpleGrid,
  Stack,
  Switch,
  Table,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api, body, type LocalModel, type Schemas } from "../../api/client";
import { Confirm, done, ErrorNote } from "../../ui/feedback";
import { bytes, number, when } from "../../ui/format";

type Numbers = "context_size" | "parallel" | "threads" | "keep_alive_secs";

export function ModelDialog({
  model,
  admin,
  onClose,
  onChanged,
}: {
  model: LocalModel;
  admin: boolean;
  onClose: () => void;
  onChanged: () => void;
}) {
  const { t } = useTranslation();
  const [form, setForm] = useState(model.settings);
  const [deleting, setDeleting] = useState(false);
  const save = useMutation({
    mutationFn: () => {
      const { model: _, ...patch } = form;
      return body(
        api.PATCH("/console/api/models/{id}", { params: { path: { id: model.id } }, body: patch as Schemas["ModelPatch"] }),
      );
    },
    onSuccess: () => {
      done(t("state.saved"));
      onChanged();
      onClose();
    },
  });
  const wrong = save.error instanceof ApiError ? save.error : undefined;
  const numeric = (name: Numbers, min: number, usual?: number) => (
    <NumberInput
      label={t(`models.field.${name}.label`)}
      description={t(`models.field.${name}.hint`)}
      placeholder={usual === undefined ? undefined : number(usual)}
      min={min}
      allowDecimal={false}
      thousandSeparator=","
      value={form[name] ?? ""}
      error={wrong?.param === name ? wrong.message : undefined}
      onChange={(v) => setForm({ ...form, [name]: typeof v === "number" ? v : null })}
    />
  );
  const text = (name: "query_prefix" | "passage_prefix", usual: string) => (
    <TextInput
      label={t(`models.field.${name}`)}
      placeholder={usual || t("models.none")}
      value={form[name] ?? ""}
      onChange={(e) => setForm({ ...form, [name]: e.currentTarget.value === "" ? null : e.currentTarget.value })}
    />
  );
  const f = model.facts;
  const rows: [string, string][] = [
    [t("models.fact.file"), `${model.file} (${bytes(model.bytes)})`],
    ...(f
      ? ([
          [t("models.fact.architecture"), f.architecture],
          [t("models.fact.quantization"), f.quantization],
          [t("models.fact.parameters"), number(f.parameters)],
          [t("models.fact.context"), number(f.context_length)],
          [t("models.fact.width"), number(f.embedding_length)],
          [t("models.fact.layers"), number(f.layers)],
          [t("models.fact.vocabulary"), number(f.vocabulary)],
          ...(f.licence ? [[t("models.fact.licence"), f.licence]] : []),
          ...(model.kind === "chat"
            ? [[t("models.fact.tools"), t(f.template_takes_tools ? "state.yes" : "models.toolsByGrammar")]]
            : []),
        ] as [string, string][])
      : []),
    ...(model.sha256 ? ([["SHA-256", model.sha256]] as [string, string][]) : []),
    [t("models.fact.changed"), when(model.modified_at)],
  ];
  const embeds = model.kind !== "chat";
  return (
    <Modal opened onClose={onClose} title={model.id} size="lg" closeButtonProps={{ "aria-label": t("action.close") }}>
      <Stack>
        <Table withRowBorders={false} verticalSpacing={4}>
          <Table.Tbody>
            {rows.map(([name, value]) => (
              <Table.Tr key={name}>
                <Table.Th w={170} fw={500} scope="row">
                  {name}
                </Table.Th>
                <Table.Td style={{ overflowWrap: "anywhere" }}>{value}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
        {admin && (
          <form
            onSubmit={(e) => {
              e.preventDefault();
              save.mutate();
            }}
          >
            <Stack>
              <Divider label={t("models.settings")} labelPosition="left" />
              <Text size="sm" c="dimmed">
                {t("models.settingsHint")}
              </Text>
              <SimpleGrid cols={{ base: 1, xs: 2 }}>
                {!embeds && numeric("context_size", 64, model.effective.context_size)}
                {!embeds && numeric("parallel", 1, model.effective.parallel)}
                {numeric("threads", 1, model.effective.threads)}
                {numeric("keep_alive_secs", 0, model.effective.keep_alive_secs)}
                <NativeSelect
                  label={t("models.field.kind")}
                  value={form.kind ?? ""}
                  onChange={(e) => setForm({ ...form, kind: (e.currentTarget.value || null) as Schemas["ModelKind"] | null })}
                  data={[
                    { value: "", label: t("models.fromFile") },
                    { value: "chat", label: t("models.kind.chat") },
                    { value: "embedding", label: t("models.kind.embedding") },
                    { value: "rerank", label: t("models.kind.rerank") },
                  ]}
                />
                {embeds && (
                  <NativeSelect
                    label={t("models.field.pooling")}
                    value={form.pooling ?? ""}
                    onChange={(e) => setForm({ ...form, pooling: (e.currentTarget.value || null) as Schemas["Pooling"] | null })}
                    data={[{ value: "", label: t("models.fromFile") }, "mean", "cls", "last", "rank", "none"]}
                  />
                )}
                {embeds && text("query_prefix", model.effective.query_prefix)}
                {embeds && text("passage_prefix", model.effective.passage_prefix)}
              </SimpleGrid>
              {!embeds && (
                <Textarea
                  label={t("models.field.chat_template")}
                  description={t("models.field.chat_templateHint")}
                  placeholder={t("models.fromFile")}
                  autosize
                  minRows={2}
                  maxRows={10}
                  ff="monospace"
                  value={form.chat_template ?? ""}
                  error={wrong?.param === "chat_template" ? wrong.message : undefined}
                  onChange={(e) =>
                    setForm({ ...form, chat_template: e.currentTarget.value === "" ? null : e.currentTarget.value })
                  }
                />
              )}
              <Switch
                label={t("models.field.pinned")}
                description={t("models.field.pinnedHint")}
                checked={form.pinned}
                onChange={(e) => setForm({ ...form, pinned: e.currentTarget.checked })}
              />
              {save.error && <ErrorNote error={save.error} />}
              <Group justify="space-between">
                <Button variant="subtle" color="red" onClick={() => setDeleting(true)}>
                  {t("models.delete")}
                </Button>
                <Button type="submit" loading={save.isPending}>
                  {t("action.save")}
                </Button>
              </Group>
            </Stack>
          </form>
        )}
      </Stack>
      <Confirm
        opened={deleting}
        onClose={() => setDeleting(false)}
        title={t("models.deleteTitle", { name: model.id })}
        text={t("models.deleteText", { size: bytes(model.bytes) })}
        action={t("models.delete")}
        onConfirm={async () => {
          await api.DELETE("/console/api/models/{id}", { params: { path: { id: model.id } } });
          done(t("models.deleted", { name: model.id }));
          onChanged();
          onClose();
        }}
      />
    </Modal>
  );
}
