import { Button, FileInput, Group, Modal, Progress, Stack, Tabs, Text, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api, body, csrfHeader } from "../../api/client";
import { done, ErrorNote } from "../../ui/feedback";
import { bytes } from "../../ui/format";

/** `fetch` does not tell how far an upload is. */
function upload(file: File, onProgress: (sent: number) => void): { promise: Promise<void>; abort: () => void } {
  const request = new XMLHttpRequest();
  const promise = new Promise<void>((resolve, reject) => {
    request.open("POST", `/console/api/models/upload?file_name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(csrfHeader())) request.setRequestHeader(name, value);
    request.upload.onprogress = (e) => onProgress(e.loaded);
    request.onload = () => {
      if (request.status < 300) return resolve();
      let answer: { code?: string; message?: string } = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // Not from us.
      }
      reject(new ApiError(request.status, answer.code ?? "unknown", answer.message ?? `${request.status}`));
    };
    request.onerror = () => reject(new ApiError(0, "offline", "offline"));
    request.onabort = () => reject(new ApiError(0, "cancelled", "cancelled"));
    request.send(file);
  });
  return { promise, abort: () => request.abort() };
}

export function AddModel({ onClose, onAdded }: { onClose: () => void; onAdded: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [file, setFile] = useState<File | null>(null);
  const [sent, setSent] = useState(0);
  const [url, setUrl] = useState("");
  const [sha256, setSha256] = useState("");
  const abort = useRef<(() => void) | null>(null);
  const send = useMutation({
    mutationFn: async () => {
      if (!file) return;
      setSent(0);
      const { promise, abort: stop } = upload(file, setSent);
      abort.current = stop;
      await promise;
    },
    onSuccess: () => {
      done(t("models.added", { name: file?.name }));
      onAdded();
      onClose();
    },
  });
  const fetchIt = useMutation({
    mutationFn: () => body(api.POST("/console/api/downloads", { body: { url: url.trim(), sha256: sha256.trim() || null } })),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ["downloads"] });
      onClose();
    },
  });
  const cancelled = send.error instanceof ApiError && send.error.code === "cancelled";
  const wrong = fetchIt.error instanceof ApiError ? fetchIt.error : undefined;
  const close = () => {
    abort.current?.();
    onClose();
  };
  return (
    <Modal
      opened
      onClose={close}
      title={t("models.add")}
      centered
      size="lg"
      closeOnClickOutside={!send.isPending}
      closeButtonProps={{ "aria-label": t("action.close") }}
    >
      <Tabs defaultValue="file">
        <Tabs.List mb="md">
          <Tabs.Tab value="file">{t("models.fromDisk")}</Tabs.Tab>
          <Tabs.Tab value="url">{t("models.fromUrl")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="file">
          <form
            onSubmit={(e) => {
              e.preventDefault();
              send.mutate();
            }}
          >
            <Stack>
              <FileInput
                label={t("models.file")}
                description={t("models.fileHint")}
                placeholder={t("models.choose")}
                accept=".gguf"
                value={file}
                onChange={setFile}
                disabled={send.isPending}
                clearable={!send.isPending}
              />
              {send.isPending && file && (
                <Stack gap={4}>
                  <Progress value={(sent / file.size) * 100} aria-label={t("models.uploading")} />
                  <Text size="sm" c="dimmed" role="status">
                    {t("models.sent", { sent: bytes(sent), total: bytes(file.size) })}
                  </Text>
                </Stack>
              )}
              {send.error && !cancelled && <ErrorNote error={send.error} />}
              <Group justify="flex-end">
                {send.isPending ? (
                  <Button variant="default" onClick={() => abort.current?.()}>
                    {t("action.cancel")}
                  </Button>
                ) : (
                  <Button type="submit" disabled={!file}>
                    {t("models.upload")}
                  </Button>
                )}
              </Group>
            </Stack>
          </form>
        </Tabs.Panel>
        <Tabs.Panel value="url">
          <form
            onSubmit={(e) => {
              e.preventDefault();
              fetchIt.mutate();
            }}
          >
            <Stack>
              <TextInput
                label="URL"
                type="url"
                required
                placeholder="https://…/model.gguf"
                value={url}
                error={wrong?.param === "url" ? wrong.message : undefined}
                onChange={(e) => setUrl(e.currentTarget.value)}
              />
              <TextInput
                label={t("models.sha256")}
                description={t("models.sha256Hint")}
                value={sha256}
                error={wrong?.param === "sha256" ? wrong.message : undefined}
                onChange={(e) => setSha256(e.currentTarget.value)}
              />
              {fetchIt.error && !["url", "sha256"].includes(wrong?.param ?? "") && <ErrorNote error={fetchIt.error} />}
              <Group justify="flex-end">
                <Button type="submit" loading={fetchIt.isPending}>
                  {t("models.download")}
                </Button>
              </Group>
            </Stack>
          </form>
        </Tabs.Panel>
      </Tabs>
    </Modal>
  );
}
