variable "package" {
  type        = string
  description = "Mayfly's Debian package, made by scripts/release: mayfly_<version>_<architecture>.deb."
  validation {
    condition     = can(regex("/?mayfly_[0-9][^/]*_(amd64|arm64)\\.deb$", var.package))
    error_message = "It must be a file mayfly_VERSION_amd64.deb or _arm64.deb, as scripts/release makes it."
  }
}

variable "level" {
  type        = string
  default     = "compatible"
  description = "What jobs may do: compatible (sudo and Docker, as on GitHub's own machines) or restricted."
  validation {
    condition     = contains(["compatible", "restricted"], var.level)
    error_message = "It must be compatible or restricted."
  }
}

variable "runner_lock" {
  type        = string
  default     = ""
  description = "Which release of GitHub's runner; ami/runner.lock where it is empty."
}

variable "runner_archive" {
  type        = string
  default     = ""
  description = "A copy of the runner's archive on this host, for machines that reach no GitHub; the lock's checksum holds for it too."
}

variable "read_ahead_list" {
  type        = string
  default     = ""
  description = "What scripts/read-ahead-list made on a machine of the image before: files that the agent has read ahead of the runner's start."
}

variable "own_steps" {
  type        = string
  default     = ""
  description = "A directory with your own steps; ami/packer/image.d (see its README.md) where it is empty."
}

variable "container_images" {
  type        = list(string)
  default     = []
  description = "Container images to pull beforehand, such as docker.io/library/node:22."
}

variable "output_directory" {
  type        = string
  default     = "target/image"
  description = "Where the bill of materials, the manifest and QEMU's disk go."
}

variable "image_name" {
  type        = string
  default     = "mayfly-debian-13"
  description = "The beginning of the image's name; architecture and time follow."
  validation {
    condition     = can(regex("^[a-zA-Z0-9().\\-/_]{3,90}$", var.image_name))
    error_message = "EC2 takes 3 to 128 letters, digits and ( ) . - / _ in an image's name, and some 30 are added here."
  }
}

variable "region" {
  type        = string
  default     = null
  description = "Where to build; without it AWS_REGION or the profile says it."
}

variable "profile" {
  type        = string
  default     = null
  description = "A profile of ~/.aws; without it the usual order of credentials."
}

variable "ec2_endpoint" {
  type        = string
  default     = null
  description = "EC2's endpoint, where it is not the region's own (a VPC endpoint without private DNS, a test)."
}

variable "source_owner" {
  type        = string
  default     = "136693071363"
  description = "The account whose image this begins with: Debian 136693071363, Canonical 099720109477. Names can be anybody's, accounts not."
  validation {
    condition     = can(regex("^[0-9]{12}$", var.source_owner))
    error_message = "It must be the 12 digits of an account: \"amazon\", \"self\" or nobody would let anybody's image in."
  }
}

variable "source_name" {
  type        = string
  default     = "debian-13-ARCH-2*"
  description = "Its name; ARCH becomes amd64 or arm64, the newest is taken. Ubuntu: ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-ARCH-server-2*."
  validation {
    condition     = can(regex("ARCH", var.source_name))
    error_message = "It must hold ARCH, which becomes amd64 or arm64."
  }
}

variable "root_device_name" {
  type        = string
  default     = "/dev/xvda"
  description = "The source image's root device: Debian /dev/xvda, Ubuntu /dev/sda1. The search asks for it: another one finds no image, and makes no second disk."
}

variable "instance_type_x86_64" {
  type        = string
  default     = "c7i.large"
  description = "The machine that builds for x86-64."
}

variable "instance_type_arm64" {
  type        = string
  default     = "c7g.large"
  description = "The machine that builds for arm64."
}

variable "volume_size" {
  type        = number
  default     = 30
  description = "The root volume in GiB; launch templates can make it larger, never smaller. GitHub's own machines leave jobs 14 GB."
  validation {
    condition     = var.volume_size >= 10 && var.volume_size <= 16384
    error_message = "It must be between 10 and 16384 GiB: runner, Docker and the system alone need some 4."
  }
}

variable "volume_iops" {
  type        = number
  default     = 3000
  description = "Of the root volume, gp3. 3000 is in the price."
}

variable "volume_throughput" {
  type        = number
  default     = 125
  description = "Of the root volume, gp3, in MiB/s. 125 is in the price."
}

variable "kms_key_id" {
  type        = string
  default     = null
  description = "Encrypts the image. For an image that other accounts use it must be a key of your own: the default key aws/ebs cannot be shared."
  validation {
    condition     = var.kms_key_id == null || !can(regex("aws/ebs$", coalesce(var.kms_key_id, "-")))
    error_message = "The key alias/aws/ebs cannot be shared with other accounts: make one of your own."
  }
}

variable "region_kms_key_ids" {
  type        = map(string)
  default     = null
  description = "The key in each of ami_regions, where the image is encrypted."
}

variable "ami_regions" {
  type        = list(string)
  default     = []
  description = "Further regions to copy the image to."
}

variable "ami_users" {
  type        = list(string)
  default     = []
  description = "Accounts that may launch the image."
  validation {
    condition     = length([for account in var.ami_users : account if !can(regex("^[0-9]{12}$", account))]) == 0
    error_message = "Each must be the 12 digits of an account."
  }
}

variable "ami_org_arns" {
  type        = list(string)
  default     = []
  description = "Organizations whose accounts may launch the image."
}

variable "deprecate_after_days" {
  type        = number
  default     = 60
  description = "When the image is deprecated. GitHub may refuse its runner 30 days after the next release."
  validation {
    condition     = var.deprecate_after_days >= 1 && var.deprecate_after_days <= 730
    error_message = "It must be between 1 and 730 days."
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Your own tags for image, snapshots, build instance and volumes."
}

variable "vpc_id" {
  type        = string
  default     = null
  description = "Where to build; the default VPC without it."
}

variable "subnet_id" {
  type        = string
  default     = null
  description = "A subnet of it that reaches the distribution's mirror and GitHub."
}

variable "associate_public_ip_address" {
  type        = bool
  default     = null
  description = "Whether the machine that builds has a public address; the subnet says it otherwise."
}

variable "iam_instance_profile" {
  type        = string
  default     = null
  description = "For the machine that builds: only with ssh_interface = \"session_manager\"."
}

variable "ssh_username" {
  type        = string
  default     = "admin"
  description = "The distribution's user: Debian admin, Ubuntu ubuntu. It must not be root."
  validation {
    condition     = var.ssh_username != "root"
    error_message = "The images of Debian and Ubuntu let root in nowhere, and neither should this build: admin or ubuntu."
  }
}

variable "ssh_interface" {
  type        = string
  default     = null
  description = "How this host reaches the machine: public_ip, private_ip, public_dns, private_dns or session_manager (no open port at all)."
}

variable "ssh_source_cidrs" {
  type        = list(string)
  default     = []
  description = "Who may reach the machine's SSH port while it builds; this host's own public address where it is empty."
  validation {
    condition     = length([for cidr in var.ssh_source_cidrs : cidr if can(regex("/[0-7]$", cidr))]) == 0
    error_message = "That is the whole world, or much of it: name the networks that this host is in."
  }
}

variable "ssh_host" {
  type        = string
  default     = null
  description = "The machine's address as seen through a tunnel of your own."
}

variable "ssh_port" {
  type        = number
  default     = 22
  description = "The machine's SSH port, or that of the tunnel."
}

variable "ssh_keypair_name" {
  type        = string
  default     = null
  description = "A key pair of the account instead of one for this build alone; with ssh_private_key_file."
}

variable "ssh_private_key_file" {
  type        = string
  default     = null
  description = "Its private key. QEMU's builds always need one: its public half is in qemu_user_data."
}

variable "qemu_source" {
  type        = string
  default     = ""
  description = "A cloud image to begin with, such as Debian's debian-13-genericcloud-amd64.qcow2: a path or an address."
}

variable "qemu_source_checksum" {
  type        = string
  default     = "none"
  description = "sha512:… or file:…/SHA512SUMS of that image; none only for a file of your own."
}

variable "qemu_user_data" {
  type        = string
  default     = ""
  description = "cloud-init's user data for QEMU's builds: the user ssh_username with sudo and your public key."
}

variable "qemu_disk_size" {
  type        = string
  default     = "10G"
  description = "The size of QEMU's disk; empty leaves that of the source."
}

variable "qemu_accelerator" {
  type        = string
  default     = "kvm"
  description = "kvm, tcg where the host has none, or none where qemu_args say it."
}

variable "qemu_args" {
  type        = list(list(string))
  default     = null
  description = "Further arguments of QEMU, such as a kernel beside the disk."
}

locals {
  # mayfly_0.1.0-1_amd64.deb
  version        = split("_", basename(var.package))[1]
  runner_version = regex("(?m)^version = \"([0-9.]+)\"", file(local.lock))[0]
}
