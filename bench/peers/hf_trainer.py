"""The peer of `bench/straight_line.py`: a plain Hugging Face `Trainer` on the same examples.

Reads one JSON object from stdin (base folder, examples, recipe values), trains, and prints one JSON
line. It runs in an environment of its own and imports nothing of the project.
"""

import json
import sys
import tempfile
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments


class Clock(TrainerCallback):
    """Wall time of the steps alone, without loading."""

    def on_train_begin(self, *_args, **_kwargs):
        self.began = time.perf_counter()

    def on_train_end(self, *_args, **_kwargs):
        self.seconds = time.perf_counter() - self.began


def main() -> None:
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    dtype = torch.bfloat16 if job["precision"] == "bf16" else torch.float32
    model = LlamaForCausalLM.from_pretrained(job["base"], dtype=dtype)
    layers = list(range(job["first_layer"], model.config.num_hidden_layers))
    config = LoraConfig(
        r=job["rank"],
        lora_alpha=job["alpha"],
        target_modules=job["targets"],
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config)
    pad = job["pad"]
    rows = [{"input_ids": e["ids"], "answer_start": e["answer_start"]} for e in job["examples"]]

    def collate(batch):
        width = max(len(row["input_ids"]) for row in batch)
        ids, labels, mask = [], [], []
        for row in batch:
            own, left = row["input_ids"], width - len(row["input_ids"])
            ids.append(own + [pad] * left)
            mask.append([1] * len(own) + [0] * left)
            start = row["answer_start"]
            labels.append([-100] * start + own[start:] + [-100] * left)
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor(mask),
            "labels": torch.tensor(labels),
        }

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=job["epochs"],
            per_device_train_batch_size=job["batch_size"],
            learning_rate=job["learning_rate"],
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            weight_decay=0.0,
            train_sampling_strategy="group_by_length",
            bf16=dtype == torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_steps=10,
            report_to=[],
            remove_unused_columns=False,
            seed=job["seed"],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=collate,
            callbacks=[clock],
        )
        done = trainer.train()
    tokens = job["epochs"] * sum(len(row["input_ids"]) for row in rows)
    print(json.dumps({"tokens": tokens, "seconds": clock.seconds, "loss": done.training_loss}))


if __name__ == "__main__":
    main()
