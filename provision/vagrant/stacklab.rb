# What the Vagrantfile needs beyond Vagrant's own words. All of it goes over Vagrant's SSH connection and with the
# bsdtar that Vagrant itself needs, so it works alike on Linux, macOS and Windows, with every provider, and without
# rsync, NFS or guest additions.
require "fileutils"
require "tmpdir"
require_relative "doctor"
require_relative "docker"

module StackLab
  ROOT = File.expand_path("../..", __dir__)
  CHECKOUT = %w[app docs fabfile.py loadtests notebooks provision pyproject.toml README.md requirements stacklab].freeze
  WORK = %w[notebooks results].freeze
  DESK_FOLDER = "/home/student/stacklab"

  class Failed < Vagrant::Errors::VagrantError
    def initialize(message)
      @words = message
      super()
    end

    def error_message
      @words
    end
  end

  # The box of this provider as [name, url]: STACKLAB_BOX (a name or a file), the newest box file in the folder that
  # fits provider and architecture, or the public one. A file's name is the box's name, so a new file is a new box.
  def self.box(provider, public_box)
    file = box_file(provider)
    return [chosen_box || public_box, box_url] unless file

    [File.basename(file, ".box"), "file://#{"/" unless file.start_with?("/")}#{file}"]
  end

  def self.box_file(provider)
    ending = provider == "docker" ? "tar.zst" : "box"
    pattern = File.join(ROOT, "stacklab-*-#{provider}-#{architecture}.#{ending}")
    files = chosen_box ? [chosen_box].select { |file| File.file?(file) } : Dir[pattern]
    own = files.grep(/-#{Docker::Image.fingerprint}-/) if provider == "docker" # the one that this very checkout would build
    files = own unless own.to_a.empty?
    File.expand_path(files.max_by { |file| File.mtime(file) }) unless files.empty?
  end

  def self.chosen_box
    ENV["STACKLAB_BOX"] unless ENV["STACKLAB_BOX"].to_s.empty?
  end

  # Where the public box, or the one that STACKLAB_BOX names, is to be had instead of Vagrant's registry.
  def self.box_url
    ENV["STACKLAB_BOX_URL"] unless ENV["STACKLAB_BOX_URL"].to_s.empty?
  end

  # The SHA-256 that the box must have: STACKLAB_BOX_CHECKSUM, or what stands in the file beside a box file; nil where nobody
  # says. (Vagrant does not ask for it where the box comes from a catalog, as its registry's do.)
  def self.box_checksum(provider)
    file, from = box_file(provider), "STACKLAB_BOX_CHECKSUM"
    told = ENV[from].to_s.strip
    if told.empty?
      from = "#{file}.sha256"
      return unless file && File.file?(from)

      told = File.read(from).split.first.to_s
    end
    raise Failed, "#{from} says '#{told}', which is no SHA-256: 'sha256sum FILE' prints a box's" unless told.match?(/\A\h{64}\z/)
    return told if file || box_url

    raise Failed, "STACKLAB_BOX_CHECKSUM is set, and neither STACKLAB_BOX_URL nor a box file is there to hold against it\n" \
                  "Set STACKLAB_BOX_URL too, or unset STACKLAB_BOX_CHECKSUM"
  end

  # Of the processor, also where a Vagrant for Intel is translated on Apple silicon.
  def self.architecture
    @architecture ||= begin
      mac = RbConfig::CONFIG["host_os"].include?("darwin")
      translated = mac && Computer.output("sysctl", "-n", "sysctl.proc_translated") == "1"
      translated || RbConfig::CONFIG["host_cpu"] =~ /arm64|aarch64/ ? "arm64" : "amd64"
    end
  end

  # What QEMU can emulate, for NumPy wants much, without what costs an emulator more than it gains (copying byte by byte,
  # five levels of page tables, guards of memory), and without AVX: with that of QEMU 7.2, NumPy's argsort ended in a
  # general protection fault, at a gathering load. vagrant-libvirt takes single features only with a named model, hence
  # QEMU's own argument; of two -cpu it takes the last.
  def self.emulate(machine)
    machine.cpu_mode = "maximum"
    return unless architecture == "amd64"

    machine.qemuargs(value: "-cpu")
    machine.qemuargs(value: "max,erms=off,la57=off,pku=off,smap=off,avx=off,avx2=off,f16c=off,fma=off,vaes=off")
  end

  # libvirt's: each machine on cores of its own. (VirtualBox, VMware and Parallels have no such choice.)
  def self.pin(settings, name)
    set = Cpus.of(name, CPUS, Cpus.cores)
    settings.cpuset = set if set
  end

  def self.ports
    { "STACKLAB_JUPYTER_PORT" => JUPYTER_PORT, "STACKLAB_SITE_PORT" => SITE_PORT }
  end

  # This computer as the doctor sees it, for the machines of `env`.
  def self.facts(env, ports)
    Computer.new(env.home_path, ports, MEMORY_MB, NETWORK).facts
  end

  # What Docker's engine must have before it runs a machine, and what it need not keep after the last one.
  def self.prepare(machine)
    return unless machine.provider_name == :docker

    variable = machine.name.to_s == "desk" ? "STACKLAB_JUPYTER_PORT" : "STACKLAB_SITE_PORT"
    Docker.prepare(machine) { facts(machine.env, ports.slice(variable)) }
  end

  def self.forget(machine)
    Docker::Network.new(NETWORK).remove_if_empty if machine.provider_name == :docker
  end

  def self.bsdtar(*arguments)
    done = Vagrant::Util::Subprocess.execute("bsdtar", *arguments)
    raise Failed, "bsdtar #{arguments.join(" ")} failed: #{done.stderr}" unless done.exit_code.zero?
  end

  # Runs `script` as root on `machine`; returns what it printed.
  def self.root(machine, script)
    printed = +""
    machine.communicate.sudo(script) { |stream, text| printed << text if stream == :stdout }
    printed
  end

  # Sends `parts` of the folder `from` and unpacks them into `to` on the machine.
  def self.deliver(machine, from, parts, to)
    Dir.mktmpdir do |folder|
      archive = File.join(folder, "parts.tgz")
      bsdtar("-czf", archive, "--exclude", "__pycache__", "-C", from, *parts)
      machine.communicate.upload(archive, "/tmp/stacklab-parts.tgz")
    end
    root(machine, "mkdir -p #{to} && tar -xzf /tmp/stacklab-parts.tgz -C #{to} --no-same-owner && rm /tmp/stacklab-parts.tgz")
  end

  # The machine is called by its name; Vagrant's own way restarts the network, which takes long on an emulated machine.
  # The checkout goes to /opt/stacklab/checkout, whole or not at all. A desk made anew gets the work back.
  class Checkout < Vagrant.plugin("2", :provisioner)
    def provision
      StackLab.root(machine, <<~SCRIPT)
        [ "$(hostname)" = #{machine.name} ] || hostnamectl set-hostname #{machine.name}
        grep -qw #{machine.name} /etc/hosts || echo '127.0.1.1 #{machine.name}' >>/etc/hosts
      SCRIPT
      parts = CHECKOUT.select { |part| File.exist?(File.join(ROOT, part)) }
      StackLab.root(machine, "rm -rf /opt/stacklab/checkout.new")
      StackLab.deliver(machine, ROOT, parts, "/opt/stacklab/checkout.new")
      StackLab.root(machine, "cd /opt/stacklab && rm -rf checkout && mv checkout.new checkout")
      StackLab.restore_work(machine) if machine.name.to_s == "desk"
    end
  end

  # The desk's public key goes to web and web's host key to the desk. Whichever machine is provisioned last does it;
  # a machine that is not up, or not yet provisioned, is left to its own introduction.
  class Introduction < Vagrant.plugin("2", :provisioner)
    ONE_AT_A_TIME = Mutex.new # where both come up at once

    def provision
      ONE_AT_A_TIME.synchronize { introduce }
    end

    private

    def introduce
      web, desk = %w[web desk].map { |name| peer(name) }
      return unless web && desk

      key = StackLab.root(desk, "cat /etc/stacklab/desk.pub 2>/dev/null || true").strip
      return if key.empty?

      host_key = StackLab.root(web, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").strip
      StackLab.root(web, "grep -qxF '#{key}' ~vagrant/.ssh/authorized_keys || echo '#{key}' >>~vagrant/.ssh/authorized_keys")
      StackLab.root(desk, "stacklab-know-web '#{host_key}'")
      check_the_way(desk)
      machine.ui.info("desk and web know each other's keys")
    end

    def check_the_way(desk)
      web = ADDRESSES["web"]
      return if StackLab.root(desk, "timeout 10 bash -c 'exec 3<>/dev/tcp/#{web}/22' && echo open || true").include?("open")

      raise Failed, "desk does not reach web at #{web}: a firewall on this computer keeps the two apart\n" \
                    "Let traffic pass within #{NETWORK}.0/24, or restart Docker, which puts its own rules back; then say " \
                    "'vagrant provision'"
    end

    # The other one by a connection of our own: over its first it may be provisioned at this moment.
    def peer(name)
      return machine if machine.name.to_s == name

      other = machine.env.machine(name.to_sym, machine.provider_name, true)
      # (Not other.state, which locks the machine in Vagrant's index and fails where it is locked already.)
      other if other.provider.state.id == :running && other.communicate.ready?
    end
  end

  # `vagrant doctor`, for programs with --json. Ports, memory and boxes are those that the Vagrantfile's first lines name.
  class Doctor < Vagrant.plugin("2", :command)
    def self.synopsis
      "is this computer ready for 'vagrant up', and if not, what to do"
    end

    def execute
      facts = StackLab.facts(@env, StackLab.ports)
      chosen = provider
      box = BOXES[chosen["provider"]].to_s.gsub("/", "-VAGRANTSLASH-")
      facts["has_public_box"] = !box.empty? && @env.boxes_path.join(box).directory?
      findings = Diagnosis.of(facts.merge(chosen).merge("running" => running))
      @argv == %w[--json] ? puts(JSON.generate(findings.map(&:to_h))) : tell(findings)
      findings.any? { |finding| finding.state == "fail" } ? 1 : 0
    end

    private

    def tell(findings)
      @env.ui.info("a lab by Vagrant (vagrant up)")
      findings.each do |finding|
        say = @env.ui.method({ "ok" => :info, "warn" => :warn, "fail" => :error }.fetch(finding.state))
        say.(format("  %-5s %s: %s", finding.state.upcase, finding.check, finding.what))
        say.("        #{finding.todo}") unless finding.todo.empty?
      end
    end

    # The provider that `vagrant up` would take, and why it cannot, in its own words. Where there is none, what each says.
    def provider
      made = @env.active_machines.group_by { |_, provider| provider.to_s }.transform_values { |each| each.map(&:first).sort }
      gone = made.keys.find { |name| fault(name) }
      return { "provider" => gone, "provider_fault" => <<~WORDS.tr("\n", " ").strip } if gone
        #{made[gone].join(", ")} were made by #{gone}, and it cannot be used now. #{fault(gone)} Say 'vagrant destroy' where
        it can; if these machines are gone, delete the folder .vagrant (what was saved of the work is in work/).
      WORDS

      name = (made.keys.first || @env.default_provider).to_s
      { "provider" => name, "provider_fault" => fault(name) }
    rescue Vagrant::Errors::NoDefaultProvider
      faults = BOXES.keys.map { |each| fault(each) }.compact.uniq
      { "provider" => BOXES.keys.first, "provider_fault" => "no provider can be used. #{faults.join(" ")}" }
    end

    def fault(name)
      return if name == "docker" # what of the engine is amiss is among the facts
      return "this Vagrantfile knows no provider #{name}" unless BOXES.key?(name)

      provider, = Vagrant.plugin("2").manager.providers[name.to_sym]
      return "#{name}: Vagrant's plugin for it is not installed." unless provider

      provider.usable?(true)
      nil
    rescue Vagrant::Errors::VagrantError => error
      "#{name}: #{error.message.gsub(/\s+/, " ").strip}"
    end

    def running
      @env.active_machines.select { |name, provider| running?(name, provider) }.map { |name, _| name.to_s }
    end

    def running?(name, provider)
      @env.machine(name, provider).provider.state.id == :running
    rescue StandardError # its provider is gone, or does not answer: said of the provider
      false
    end
  end

  # `vagrant image [FOLDER]`: the image of Docker's engine as a file (provision/docker/build).
  class ImageFile < Vagrant.plugin("2", :command)
    def self.synopsis
      "writes the image of web and desk for Docker's engine to a file, for laptops without a network"
    end

    def execute
      @env.ui.info(Docker::Image.new(@env.ui).write(@argv.fetch(0, ".")))
      0
    end
  end

  class Plugin < Vagrant.plugin("2")
    name "stacklab"
    Vagrant.plugin("2").manager.providers[:docker].first.singleton_class.prepend(Docker::Usable)
    command("doctor") { Doctor }
    command("image") { ImageFile }
    provisioner("stacklab_checkout") { Checkout }
    provisioner("stacklab_introduction") { Introduction }
  end

  # Notebooks and results are copied to the folder work/ on this computer before Vagrant does anything to the desk.
  # Between such copies a note beside Vagrant's own on the machine says that there is work which is on desk alone.
  def self.keep_work(desk)
    desk.trigger.after(%i[up resume reload provision]) { |trigger| trigger.ruby { |_, machine| FileUtils.touch(note(machine)) } }
    desk.trigger.before(%i[halt suspend reload provision]) { |trigger| trigger.ruby { |_, machine| try_to_fetch(machine) } }
    desk.trigger.before(:destroy) { |trigger| trigger.ruby { |_, machine| fetch_before_destroy(machine) } }
  end

  def self.note(machine)
    machine.data_dir.join("work_on_desk_alone")
  end

  def self.try_to_fetch(machine)
    fetch_work(machine)
  rescue StandardError => error
    machine.ui.warn("The work on desk was not copied to work/: #{error.message}")
  end

  def self.fetch_before_destroy(machine)
    return if ENV["STACKLAB_DISCARD_WORK"]

    try_to_fetch(machine)
    return unless note(machine).exist?

    raise Failed, "There is work on desk that is not in work/ on this computer. Start desk ('vagrant up desk') and say " \
                  "'vagrant destroy' again; or set STACKLAB_DISCARD_WORK=1 to give it up"
  end

  def self.fetch_work(machine)
    return unless machine.provider.state.id == :running && machine.communicate.ready?

    packed = root(machine, <<~SCRIPT)
      cd #{DESK_FOLDER} 2>/dev/null || exit 0
      umask 077
      tar -czf /tmp/stacklab-work.tgz $(ls -d #{WORK.join(" ")} 2>/dev/null)
      chown vagrant: /tmp/stacklab-work.tgz && echo packed
    SCRIPT
    return if packed.empty?

    Dir.mktmpdir do |folder|
      archive = File.join(folder, "work.tgz")
      machine.communicate.download("/tmp/stacklab-work.tgz", archive)
      work = File.join(ROOT, "work")
      FileUtils.mkdir_p(work)
      File.write(File.join(work, ".gitignore"), "*\n")
      bsdtar("-xzf", archive, "-C", work)
    end
    FileUtils.rm_f(note(machine))
    machine.ui.info("Notebooks and results are in work/ on this computer")
  end

  def self.restore_work(machine)
    parts = WORK.select { |part| File.directory?(File.join(ROOT, "work", part)) }
    return if parts.empty? || root(machine, "test -e #{DESK_FOLDER} && echo there || true").include?("there")

    deliver(machine, File.join(ROOT, "work"), parts, DESK_FOLDER)
    machine.ui.info("Notebooks and results from work/ are back on desk")
  end
end
