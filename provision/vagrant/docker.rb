# Web and desk as containers of Docker's engine: the image they begin as, their network, their share of the computer.
# Everything is asked of the `docker` command, so that Docker Desktop, Docker on Linux and a DOCKER_HOST are alike.
require "digest"
require "open3"
require "tmpdir"
require_relative "cpus"
require_relative "engine"

module StackLab
  module Docker
    BASE = ENV.fetch("STACKLAB_DOCKER_BASE", "debian:trixie") # the image that ours begins with
    # Whatever of the checkout makes another image. (Not desk.sh: it looks by itself whether what it finds is right.)
    INGREDIENTS = %w[
      app provision/docker/Dockerfile provision/docker/boot provision/bake.sh provision/web.sh provision/certificates.sh provision/own_pip.py
      provision/packages.txt provision/no-main-cluster provision/image/packages.txt provision/requirements.lock requirements/desk.lock
    ].freeze
    # The least that systemd, the sandboxes of the services and a measurement need; docs/classroom.md says what a container
    # does not wall off. Not --privileged: no device of the computer is in reach, and no module of its kernel.
    RIGHTS = [
      "--cgroupns=private",                    # a tree of control groups of its own, where systemd keeps its units
      "--cap-add=SYS_ADMIN",                   # mount: that tree, and what PrivateTmp=, ProtectSystem= of a unit want
      "--cap-add=SYS_PTRACE",                  # PrivateUsers= of Redis' unit; reading the memory of others' processes
      "--cap-add=NET_ADMIN",                   # forgetting the card of a web host that is gone (ip neigh flush)
      "--security-opt=apparmor=unconfined",    # Docker's own profile forbids every mount
      "--security-opt=systempaths=unconfined", # /proc/sys can be written: net.core.somaxconn is a setting of the lab
    ].freeze
    FULL = /no space left|enough free space|disk quota/i # as the kernel says it, apt, and a disk with quotas
    ONE_AT_A_TIME = Mutex.new # Vagrant brings both machines up at once

    # Where no other provider can be used, Docker's turn comes as soon as there is a `docker`, and it says in one line what
    # of its engine is amiss; by itself Vagrant would send people for VirtualBox.
    module Usable
      def usable?(raise_error = false)
        super(true)
      rescue Vagrant::Errors::VagrantError
        facts = { "system" => Computer.system, "docker" => Engine.facts(ROOT) }
        raise Failed, Engine.provider(facts).last(2).join("\n") if raise_error && facts["docker"]
        raise Failed, "There is no `docker` on this computer. Install Docker, or take another provider" if raise_error

        !facts["docker"].nil?
      end
    end

    # Before `up` and `reload`: all that the machine needs of the engine is there, or one line says what is not. The block
    # looks at the computer.
    def self.prepare(machine)
      ONE_AT_A_TIME.synchronize do
        name = machine.name.to_s
        network = Network.new(NETWORK)
        next network.mend(machine.id, ADDRESSES[name]) unless %i[not_created preparing].include?(machine.state.id)

        forget_strays(machine.env)
        check(yield)
        network.make
        machine.provider_config.image = Image.new(machine.ui).there
        machine.provider_config.create_args = [
          *RIGHTS, "--hostname=#{name}", "--network=#{network.name}", "--ip=#{ADDRESSES[name]}",
          "--memory=#{MEMORY_MB}m", *pin(name), "--label=#{label}"
        ]
      end
    end

    # Of every container of this folder's lab.
    def self.label
      "#{Engine::LABEL}=#{File.realpath(ROOT)}"
    end

    # An `up` that was killed may have left containers that Vagrant does not know of, and that have the machines' addresses.
    # (One with work on it was known once: somebody has removed the folder .vagrant.) Once, before anything is made: Vagrant
    # asks all containers for their ports, and fails if one is gone before it answers.
    def self.forget_strays(env)
      return if @looked_for_strays

      @looked_for_strays = true
      known = Dir[env.local_data_path.join("machines/*/docker/id").to_s].map { |file| File.read(file).strip }
      (run("ps", "--all", "--quiet", "--no-trunc", "--filter=label=#{label}").split - known).each do |stray|
        with_work = Dir.mktmpdir { |folder| try("cp", "#{stray}:#{DESK_FOLDER}/fabfile.py", folder) }
        next run("rm", "--force", stray) unless with_work

        raise Failed, "The container #{stray} has a student's work, and Vagrant does not know it any more\n" \
                      "Save its notebooks and results (docker cp #{stray}:#{DESK_FOLDER}/notebooks work/; the same with " \
                      "results), then say: docker rm --force #{stray}"
      end
    end

    # What the doctor calls a failure, and would end in many more words further on.
    def self.check(facts)
      findings = Diagnosis.of(facts.merge("provider" => "docker", "running" => []))
      fails = findings.select { |each| each.state == "fail" && %w[provider ports network box].include?(each.check) }
      fails << Finding.new(*Engine.memory(facts)) if fails.empty?
      first = fails.first
      raise Failed, "#{first.what}\n#{first.todo}" if first.state == "fail"
    end

    # Each on cores of its own. An engine elsewhere, or in a machine of its own, has other CPUs than /sys here tells of.
    def self.pin(name)
      all = Integer(run("info", "--format", "{{.NCPU}}"))
      set = Cpus.of(name, CPUS, all == Etc.nprocessors ? Cpus.cores : Array.new(all) { |cpu| [cpu] })
      set ? ["--cpuset-cpus=#{set}"] : []
    end

    # What `docker WORDS` prints; Failed with its own words. With a block, its lines are handed on as they come.
    def self.run(*words, **options)
      done = Vagrant::Util::Subprocess.execute("docker", *words, **options, notify: %i[stdout stderr]) do |_, text|
        text.scrub.lines.map(&:rstrip).reject(&:empty?).each { |line| yield line } if block_given?
      end
      return done.stdout.strip if done.exit_code.zero?

      said = "#{done.stderr}#{done.stdout}".scrub.gsub(/\e\[[\d;]*m/, "").lines.map(&:strip).reject(&:empty?)
      check_room(said)
      raise Failed, "docker #{words.first} failed: #{said.last(block_given? ? 5 : 2).join(" ")}"
    end

    # Whatever failed, in lines: is it for want of room? What each program then advises leads elsewhere.
    def self.check_room(said)
      full = said.find { |line| line.match?(FULL) } or return

      root = Open3.capture2("docker", "info", "--format", "{{.DockerRootDir}}").first.strip
      raise Failed, "Docker's disk is full: #{full.strip}\n" \
                    "The image and two machines take up to #{Diagnosis.gb(Engine::DISK_BYTES)}. Make room where Docker keeps its " \
                    "data (#{root}; 'docker image prune' takes away what no machine uses; Docker Desktop has its limit in " \
                    "Settings → Resources), and say it again: what is done is kept"
    end

    # The same, and nil where it fails.
    def self.try(*words)
      run(*words)
    rescue Failed
      nil
    end

    # One network for both machines, with their fixed addresses. (Vagrant's own would come on top of Docker's bridge, whose
    # addresses change, and is removed when another folder's machines are destroyed.)
    class Network
      attr_reader :name

      def initialize(network)
        @subnet = "#{network}.0/24"
        @name = Engine.network_name(@subnet)
      end

      def make
        Docker.run("network", "create", "--subnet=#{@subnet}", @name) unless there?
      end

      # A container keeps to the very network that it was made with, which `docker network prune` takes away while it rests.
      def mend(container, address)
        make
        its_id = "{{(index .NetworkSettings.Networks \"#{@name}\").NetworkID}}"
        its = Docker.try("container", "inspect", "--format", its_id, container)
        return if its == Docker.run("network", "inspect", "--format", "{{.Id}}", @name)

        Docker.try("network", "disconnect", "--force", @name, container)
        Docker.run("network", "connect", "--ip=#{address}", @name, container)
      end

      def remove_if_empty
        Docker.run("network", "rm", @name) if there? && Docker.run("ps", "--all", "--quiet", "--filter=network=#{@name}").empty?
      end

      private

      def there?
        !Docker.try("network", "inspect", @name).nil?
      end
    end

    # The image that both machines begin as: of a file in this folder (or STACKLAB_BOX), or built from this checkout.
    class Image
      def initialize(ui)
        @ui = ui
      end

      # Its name, once it is in the engine.
      def there
        return load(StackLab.box_file("docker")) if StackLab.box_file("docker")
        return StackLab.chosen_box if StackLab.chosen_box

        name = "stacklab:#{Image.fingerprint}"
        build(name) unless there?(name)
        name
      end

      def self.fingerprint
        digest = Digest::SHA256.new << BASE
        INGREDIENTS.flat_map { |path| Dir[File.join(ROOT, path), File.join(ROOT, path, "**/*")] }.sort.each do |path|
          digest << path.delete_prefix(ROOT) << File.binread(path) if File.file?(path) && !path.include?("__pycache__")
        end
        digest.hexdigest[0, 8]
      end

      def build(name)
        @ui.info("Building the image #{name}, from #{BASE} and Debian's and Python's packages: some minutes, once")
        Dir.mktmpdir do |folder|
          written = File.join(folder, "id")
          # Over the computer's own network, where names and proxies work. (No attestation: an older engine cannot load it.
          # The older builder leaves the container of a step that failed, unless it is forced to take it away.)
          Docker.run("build", "--force-rm", "--network=host", "--build-arg=BASE=#{BASE}", "--iidfile=#{written}",
                     "--file=#{File.join(ROOT, "provision/docker/Dockerfile")}", ROOT,
                     env: ENV.to_h.merge("BUILDX_NO_DEFAULT_ATTESTATIONS" => "1")) { |line| @ui.detail(line) }
          Docker.run("tag", File.read(written).strip, name)
        end
      end

      # `file` is stacklab-HASH-docker-ARCHITECTURE.tar.zst and holds stacklab:HASH.
      def load(file)
        name = "stacklab:#{File.basename(file)[/stacklab-(\h+)-/, 1]}"
        return name if there?(name)

        @ui.info("Loading the image #{name} from #{file}")
        said = if Vagrant::Util::Which.which("zstd") # an old engine, as Debian 12's, cannot read it itself
                 unpacked, load = %W[zstd -dcq #{file}], ["docker", "load", "--quiet", { err: %i[child out] }]
                 Open3.pipeline_r(unpacked, load, err: File::NULL) { |printed, _| printed.read }
               else
                 Open3.capture2e("docker", "load", "--quiet", "--input=#{file}").first
               end
        return name if there?(name)

        Docker.check_room(said.scrub.lines)
        raise Failed, "#{file} cannot be loaded as #{name}: it is half of a file or another image's, or this engine is too " \
                      "old to read zstd\nGet the file anew; on Linux, apt-get install zstd"
      end

      # Writes that file into `folder`, unless it is there; returns its path.
      def write(folder)
        name = there
        architecture = Docker.run("image", "inspect", "--format", "{{.Architecture}}", name)
        file = File.join(File.expand_path(folder), "#{name.tr(":", "-")}-docker-#{architecture}.tar.zst")
        return file if File.file?(file)

        # Its own zstd packs it: a computer need not have one.
        pack = %W[docker run --rm --interactive --network=none --entrypoint=zstd #{name} -q -T0 -9]
        packed = Open3.pipeline(%W[docker save #{name}], pack, out: "#{file}.new").all?(&:success?)
        raise Failed, "#{file}.new could not be written: is the disk full?" unless packed

        File.rename("#{file}.new", file)
        file
      end

      private

      def there?(name)
        !Docker.try("image", "inspect", name).nil?
      end
    end
  end
end
