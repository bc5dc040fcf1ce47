source "amazon-ebs" "mayfly" {
  region                      = var.region
  profile                     = var.profile
  custom_endpoint_ec2         = var.ec2_endpoint
  skip_credential_validation  = var.ec2_endpoint != null
  ami_description             = "Mayfly: one instance, one GitHub Actions job, gone. From {{ .SourceAMIName }}"
  vpc_id                      = var.vpc_id
  subnet_id                   = var.subnet_id
  associate_public_ip_address = var.associate_public_ip_address
  # A build that hangs with its host ends by itself, not as a stopped machine that is paid for.
  shutdown_behavior = "terminate"

  # SSH: open to this host alone, never to the world; the key is of this build only and is taken off the image.
  ssh_username                              = var.ssh_username
  ssh_interface                             = var.ssh_interface
  ssh_host                                  = var.ssh_host
  ssh_port                                  = var.ssh_port
  ssh_private_key_file                      = var.ssh_private_key_file
  ssh_keypair_name                          = var.ssh_keypair_name
  ssh_timeout                               = "10m"
  ssh_clear_authorized_keys                 = true
  temporary_key_pair_type                   = "ed25519"
  temporary_security_group_source_public_ip = length(var.ssh_source_cidrs) == 0
  temporary_security_group_source_cidrs     = var.ssh_source_cidrs
  iam_instance_profile                      = var.iam_instance_profile

  # IMDSv2 for the machine that builds, and for every instance of the image.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"

  launch_block_device_mappings {
    device_name           = var.root_device_name
    volume_type           = "gp3"
    volume_size           = var.volume_size
    iops                  = var.volume_iops
    throughput            = var.volume_throughput
    delete_on_termination = true
    encrypted             = var.kms_key_id != null
    kms_key_id            = var.kms_key_id
  }

  ami_regions        = var.ami_regions
  region_kms_key_ids = var.region_kms_key_ids
  ami_users          = var.ami_users
  ami_org_arns       = var.ami_org_arns
  snapshot_users     = var.ami_users
  # An image that nobody may use any more is not found any more; running instances do not mind.
  deprecate_at = timeadd(timestamp(), "${24 * var.deprecate_after_days}h")

  tags = merge(var.tags, {
    Name                 = var.image_name
    "mayfly:version"     = local.version
    "mayfly:runner"      = local.runner_version
    "mayfly:level"       = var.level
    "mayfly:source-ami"  = "{{ .SourceAMI }}"
    "mayfly:source-name" = "{{ .SourceAMIName }}"
    "mayfly:built-at"    = timestamp()
  })
  run_tags        = merge(var.tags, { Name = "${var.image_name}-build" })
  run_volume_tags = merge(var.tags, { Name = "${var.image_name}-build" })
  snapshot_tags   = merge(var.tags, { Name = var.image_name })
}

source "qemu" "mayfly" {
  iso_url          = var.qemu_source
  iso_checksum     = var.qemu_source_checksum
  disk_image       = true
  use_backing_file = false
  format           = "qcow2"
  disk_size        = var.qemu_disk_size
  skip_resize_disk = var.qemu_disk_size == ""
  disk_interface   = "virtio"
  net_device       = "virtio-net"
  accelerator      = var.qemu_accelerator
  cpus             = 2
  memory           = 2048
  headless         = true
  qemuargs         = var.qemu_args
  output_directory = "${var.output_directory}/qemu"
  vm_name          = "${var.image_name}.qcow2"
  boot_wait        = "1s"
  # At once: generalise takes the right to sudo away too. If it fails the machine stays on, and so the build fails.
  shutdown_command = "sudo sh -c '/usr/lib/mayfly/generalise && systemctl poweroff'"
  shutdown_timeout = "5m"

  ssh_username              = var.ssh_username
  ssh_private_key_file      = var.ssh_private_key_file
  ssh_timeout               = "15m"
  ssh_clear_authorized_keys = true

  # cloud-init's NoCloud: the way in for this build.
  cd_label = "cidata"
  cd_content = {
    "meta-data" = "instance-id: ${local.stamp}\n"
    "user-data" = var.qemu_user_data
  }
}
