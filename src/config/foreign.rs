//! Keys of other trainers, so that whoever comes from one is told what to write here.

/// Names that other trainers use, with what to write here.
pub(super) const FOREIGN: &[(&str, &str)] = &[
    ("r", "`rank` under [lora]"),
    ("lora_rank", "`rank` under [lora]"),
    ("lora_alpha", "`alpha` under [lora]"),
    ("lora_dropout", "`dropout` under [lora]"),
    ("rslora", "`use_rslora` under [lora]"),
    ("lr", "`learning_rate` under [train]"),
    ("epochs", "`num_train_epochs` under [train]"),
    ("num_epochs", "`num_train_epochs` under [train]"),
    ("batch_size", "`per_device_train_batch_size` under [train]"),
    (
        "per_device_eval_batch_size",
        "nothing: validation is packed by `micro_batch_tokens`",
    ),
    ("lr_scheduler", "`lr_scheduler_type` under [train]"),
    ("max_seq_length", "`max_length` under [train]"),
    ("cutoff_len", "`max_length` under [train]"),
    ("gradient_checkpointing", "`recompute` under [train]"),
    ("dataset", "`sources` under [data]"),
    ("split_dataset_ratio", "`validation_ratio` under [data]"),
    ("val_size", "`validation_ratio` under [data]"),
    ("data_seed", "`seed` under [data]"),
    ("train_type", "nothing: LoRA is the only kind"),
    ("tuner_type", "nothing: LoRA is the only kind"),
    ("torch_dtype", "`dtype` under [model]"),
    ("quant_bits", "`load_in_4bit = true` under [model]"),
    ("quantization_bit", "`load_in_4bit = true` under [model]"),
    (
        "bnb_4bit_quant_type",
        "nothing: `load_in_4bit` quantizes to NF4",
    ),
    (
        "dataloader_num_workers",
        "nothing: examples are encoded once, before step 1",
    ),
    (
        "use_loss_scale_sampler",
        "nothing: ms-swift has no such option either",
    ),
    ("model_name_or_path", "`path` under [model]"),
    ("id", "`path` under [model]"),
    ("temperature", "`temperature` under [generation] of a suite"),
];
