import { Button, Group, NativeSelect, Stack, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api, body, type Schemas } from "../../api/client";
import { LANGUAGES } from "../../i18n";
import { done, ErrorNote, Waiting } from "../../ui/feedback";

const DEFAULTS = [
  ["default_chat_model", "chat"],
  ["default_embedding_model", "embedding"],
  ["default_rerank_model", "rerank"],
] as const;

export function Instance() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const settings = useQuery({ queryKey: ["settings"], queryFn: () => body(api.GET("/console/api/settings")) });
  const models = useQuery({ queryKey: ["models"], queryFn: () => body(api.GET("/console/api/models")) });
  const [form, setForm] = useState<Schemas["SettingsBody"]>({});
  useEffect(() => {
    if (settings.data) {
      const { config: _, ...plain } = settings.data;
      setForm(plain);
    }
  }, [settings.data]);
  const save = useMutation({
    mutationFn: () => body(api.PATCH("/console/api/settings", { body: form })),
    onSuccess: (next) => {
      client.setQueryData(["settings"], next);
      void client.invalidateQueries({ queryKey: ["session"], exact: true });
      done(t("state.saved"));
    },
  });
  if (settings.isPending) return <Waiting />;
  if (settings.isError) return <ErrorNote error={settings.error} again={() => void settings.refetch()} />;
  const wrong = save.error instanceof ApiError ? save.error : undefined;
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        save.mutate();
      }}
    >
      <Stack maw={480}>
        <TextInput
          label={t("instance.name")}
          description={t("instance.nameHint")}
          required
          value={form.name ?? ""}
          error={wrong?.param === "name" ? wrong.message : undefined}
          onChange={(e) => setForm({ ...form, name: e.currentTarget.value })}
        />
        <NativeSelect
          label={t("instance.language")}
          description={t("instance.languageHint")}
          value={form.default_language?.startsWith("zh") ? "zh-Hans" : "en"}
          onChange={(e) => setForm({ ...form, default_language: e.currentTarget.value })}
          data={Object.entries(LANGUAGES).map(([value, label]) => ({ value, label }))}
        />
        {DEFAULTS.map(([field, kind]) => (
          <NativeSelect
            key={field}
            label={t(`instance.${field}`)}
            value={form[field] ?? ""}
            onChange={(e) => setForm({ ...form, [field]: e.currentTarget.value || null })}
            data={[
              { value: "", label: t("instance.first") },
              ...(models.data?.models ?? []).filter((m) => m.kind === kind).map((m) => ({ value: m.id, label: m.id })),
            ]}
          />
        ))}
        {save.error && wrong?.param !== "name" && <ErrorNote error={save.error} />}
        <Group justify="flex-end">
          <Button type="submit" loading={save.isPending}>
            {t("action.save")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
