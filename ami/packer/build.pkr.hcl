# The image of Mayfly: the same steps on EC2 (amazon-ebs) and in QEMU.
#
#   packer init ami/packer
#   packer build -only='amazon-ebs.x86_64' -var package=mayfly_0.1.0-1_amd64.deb ami/packer
#
# Order: wait for the machine's own start, the steps of scripts/provision.d, the bill of materials, mayfly doctor --image (a warning
# refuses the image), and last what makes the machine itself goes.

packer {
  required_version = ">= 1.9.4"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.2"
    }
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = ">= 1.0.9"
    }
  }
}

locals {
  top   = abspath("${path.root}/../..")
  stamp = formatdate("YYYYMMDD-hhmmss", timestamp())
  # Root by sudo where the distribution's user is not root. What the steps are told is in the environment, which sudo would drop.
  as_root   = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
  lock      = var.runner_lock != "" ? var.runner_lock : "${local.top}/ami/runner.lock"
  own_steps = var.own_steps != "" ? var.own_steps : "${path.root}/image.d"
  # Every provisioner finds its files here; generalise and the last step take them away.
  place = "/var/tmp/mayfly-build"
}

build {
  name = "mayfly"

  source "amazon-ebs.mayfly" {
    name          = "x86_64"
    instance_type = var.instance_type_x86_64
    ami_name      = "${var.image_name}-x86_64-${local.stamp}"
    source_ami_filter {
      owners      = [var.source_owner]
      most_recent = true
      filters = {
        name                = replace(var.source_name, "ARCH", "amd64")
        architecture        = "x86_64"
        root-device-type    = "ebs"
        root-device-name    = var.root_device_name
        virtualization-type = "hvm"
      }
    }
  }

  source "amazon-ebs.mayfly" {
    name          = "arm64"
    instance_type = var.instance_type_arm64
    ami_name      = "${var.image_name}-arm64-${local.stamp}"
    source_ami_filter {
      owners      = [var.source_owner]
      most_recent = true
      filters = {
        name                = replace(var.source_name, "ARCH", "arm64")
        architecture        = "arm64"
        root-device-type    = "ebs"
        root-device-name    = var.root_device_name
        virtualization-type = "hvm"
      }
    }
  }

  source "qemu.mayfly" {
    name = "x86_64"
  }

  # The machine's own start may still write users, files and packages.
  provisioner "shell" {
    execute_command = local.as_root
    inline = [
      "if command -v cloud-init >/dev/null; then timeout 600 cloud-init status --wait >/dev/null || [ $? -ne 124 ] || { echo 'cloud-init is not done after 10 minutes' >&2; exit 1; }; fi",
      "rm -rf ${local.place} && install -d -m 0777 ${local.place} ${local.place}/image.d",
    ]
  }

  provisioner "file" {
    sources     = compact([var.package, "${local.top}/scripts/provision", local.lock, var.runner_archive, var.read_ahead_list])
    destination = "${local.place}/"
  }

  # The organisation's own steps: an empty directory where it has none.
  provisioner "file" {
    source      = "${local.own_steps}/"
    destination = "${local.place}/image.d"
  }

  # Only EC2 knows which image this began as.
  provisioner "shell" {
    only             = ["amazon-ebs.x86_64", "amazon-ebs.arm64"]
    execute_command  = local.as_root
    environment_vars = ["SOURCE_IMAGE=${build.SourceAMI}"]
    inline           = ["echo \"$SOURCE_IMAGE\" >${local.place}/source-image"]
  }

  provisioner "shell" {
    execute_command = local.as_root
    environment_vars = [
      "PLACE=${local.place}",
      "DEB=${basename(var.package)}",
      "LOCK=${basename(local.lock)}",
      "ARCHIVE=${var.runner_archive == "" ? "" : basename(var.runner_archive)}",
      "AHEAD=${var.read_ahead_list == "" ? "" : basename(var.read_ahead_list)}",
      "LEVEL=${var.level}",
      "IMAGES=${join(" ", var.container_images)}",
    ]
    script = "${local.top}/ami/packer/steps.sh"
  }

  # What the bill of materials is made from, on the host that builds: nothing of the tool gets into the image.
  provisioner "shell" {
    execute_command = local.as_root
    inline          = ["/usr/lib/mayfly/materials ${local.place}/materials.tar"]
  }
  provisioner "file" {
    direction   = "download"
    source      = "${local.place}/materials.tar"
    destination = "${var.output_directory}/${source.type}-${source.name}.materials.tar"
  }

  # A promise that is broken, a warning, and what was not tried though it could be: no image.
  provisioner "shell" {
    execute_command = local.as_root
    inline          = ["cd / && /usr/bin/mayfly doctor --image"]
  }

  provisioner "shell" {
    execute_command = local.as_root
    inline          = ["rm -rf ${local.place}"]
  }

  # QEMU's builds do it with their shutdown: see sources.pkr.hcl.
  provisioner "shell" {
    only            = ["amazon-ebs.x86_64", "amazon-ebs.arm64"]
    execute_command = local.as_root
    inline          = ["/usr/lib/mayfly/generalise"]
  }

  post-processor "shell-local" {
    inline = [
      "'${local.top}/ami/sbom' '${var.output_directory}/${source.type}-${source.name}.materials.tar' '${var.output_directory}/${source.type}-${source.name}.spdx.json'",
    ]
  }
  post-processor "manifest" {
    output = "${var.output_directory}/manifest.json"
  }
}
