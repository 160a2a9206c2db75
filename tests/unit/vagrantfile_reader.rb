# Evaluates the Vagrantfile without Vagrant and prints, as JSON, what it asks for: a provider that is not installed
# here is then checked as well, which Vagrant's own validator does not do.
#
#   ruby vagrantfile_reader.rb VAGRANTFILE VAGRANT_VERSION
require "json"
require "rbconfig"

vagrantfile, version = ARGV

# Takes any assignment and notes it; anything else that is called on it is an error.
class Settings
  attr_reader :noted

  def initialize
    @noted = {}
  end

  def method_missing(name, *arguments)
    raise NoMethodError, "the Vagrantfile calls #{name}" unless name.end_with?("=")

    @noted[name.to_s.chomp("=")] = arguments.first
  end

  def respond_to_missing?(*)
    true
  end
end

class ProviderSettings < Settings
  def vmx
    @noted["vmx"] ||= {}
  end

  def qemuargs(value:)
    (@noted["qemuargs"] ||= []) << value
  end
end

class Machine < Settings
  attr_reader :networks, :provisioners, :folders, :providers, :machines, :triggers

  def initialize
    super
    @networks, @provisioners, @folders, @triggers = [], [], [], []
    @providers, @machines = {}, {}
  end

  def vm = self
  def trigger = self
  def network(kind, **options) = @networks << { kind: kind, **options }
  def provision(name, **options) = @provisioners << { name: name, **options }
  def synced_folder(from, to, **options) = @folders << { from: from, to: to, **options }
  def before(commands) = @triggers.concat(Array(commands))
  def after(_) = nil

  def define(name)
    yield(@machines[name] ||= Machine.new)
  end

  def provider(name)
    blocks = (@providers[name] ||= { settings: ProviderSettings.new, override: Machine.new })
    yield blocks[:settings], blocks[:override]
  end

  def to_h
    {
      settings: @noted, networks: @networks, provisioners: @provisioners, folders: @folders, triggers: @triggers,
      providers: @providers.transform_values { |each| { settings: each[:settings].noted, override: each[:override].noted, networks: each[:override].networks } },
      machines: @machines.transform_values(&:to_h),
    }
  end
end

module Vagrant
  module Errors
    class VagrantError < StandardError; end
  end

  class Plugin
    def self.name(*) = nil
    def self.provisioner(*) = nil
    def self.command(*) = nil
    def self.manager = self
    def self.providers = { docker: [Class.new] }
  end

  def self.plugin(*) = Plugin
  def self.require_version(wanted) = Gem::Requirement.new(wanted).satisfied_by?(Gem::Version.new(VERSION)) || abort("version")

  def self.configure(_)
    config = Machine.new
    yield config
    puts JSON.generate(config.to_h)
  end
end
Vagrant::VERSION = version

load vagrantfile
