import { ActionIcon, Button, Group, Menu, Modal, Stack, Text, TextInput, UnstyledButton } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconDots, IconPencil, IconPlus, IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { Conversation, useConversations } from "./conversations";
import classes from "./Playground.module.css";

export function ConversationList({
  store,
  current,
  onSelect,
  onNew,
}: {
  store: ReturnType<typeof useConversations>;
  current?: string;
  onSelect: (id: string) => void;
  onNew: () => void;
}) {
  const { t } = useTranslation();
  const [renaming, setRenaming] = useState<Conversation | null>(null);
  const [title, setTitle] = useState("");
  /** Deletes at once and offers the way back. */
  const removed = (message: string, before: Conversation[]) => {
    const id = notifications.show({
      message: (
        <Group justify="space-between" wrap="nowrap">
          <Text size="sm">{message}</Text>
          <Button
            size="compact-xs"
            variant="default"
            onClick={() => {
              store.restore(before);
              notifications.hide(id);
            }}
          >
            {t("action.undo")}
          </Button>
        </Group>
      ),
      autoClose: 8000,
    });
  };
  const name = (c: Conversation) => c.title || t("playground.untitled");
  return (
    <Stack gap="xs" h="100%">
      <Button variant="light" leftSection={<IconPlus size={16} aria-hidden />} onClick={onNew}>
        {t("playground.new")}
      </Button>
      <Stack gap={2} component="ul" m={0} p={0} style={{ listStyle: "none" }} aria-label={t("playground.conversations")}>
        {store.list.map((c) => (
          <li key={c.id} className={classes.item} data-active={c.id === current || undefined}>
            <UnstyledButton
              className={classes.name}
              onClick={() => onSelect(c.id)}
              aria-current={c.id === current ? "true" : undefined}
              title={name(c)}
            >
              {name(c)}
            </UnstyledButton>
            <Menu position="bottom-end" withinPortal>
              <Menu.Target>
                <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t("playground.more", { name: name(c) })}>
                  <IconDots size={14} aria-hidden />
                </ActionIcon>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Item
                  leftSection={<IconPencil size={14} aria-hidden />}
                  onClick={() => {
                    setTitle(c.title);
                    setRenaming(c);
                  }}
                >
                  {t("action.rename")}
                </Menu.Item>
                <Menu.Item
                  color="red"
                  leftSection={<IconTrash size={14} aria-hidden />}
                  onClick={() => {
                    const before = store.list;
                    store.remove(c.id);
                    removed(t("playground.deleted", { name: name(c) }), before);
                  }}
                >
                  {t("action.delete")}
                </Menu.Item>
              </Menu.Dropdown>
            </Menu>
          </li>
        ))}
      </Stack>
      {store.list.length > 1 && (
        <Button
          variant="subtle"
          color="gray"
          size="xs"
          onClick={() => {
            const before = store.list;
            store.clear();
            removed(t("playground.cleared"), before);
          }}
        >
          {t("playground.clear")}
        </Button>
      )}
      <Text size="xs" c="dimmed">
        {t("playground.kept")}
      </Text>
      <Modal
        opened={renaming !== null}
        onClose={() => setRenaming(null)}
        title={t("action.rename")}
        centered
        closeButtonProps={{ "aria-label": t("action.close") }}
      >
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (renaming) store.update(renaming.id, (c) => ({ ...c, title: title.trim() }));
            setRenaming(null);
          }}
        >
          <Stack>
            <TextInput label={t("field.name")} value={title} onChange={(e) => setTitle(e.currentTarget.value)} data-autofocus />
            <Group justify="flex-end">
              <Button type="submit">{t("action.save")}</Button>
            </Group>
          </Stack>
        </form>
      </Modal>
    </Stack>
  );
}
